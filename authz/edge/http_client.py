"""The one way in which this product makes an HTTP client that asks others.

Clients live as long as their process, and much of what they fetch comes over plain HTTP, from whoever answers. So a
client keeps nothing of an answer: with httpx as it comes, cookies of any answer, also of one that is refused, go along
with every later request, and one forged answer could fill those beyond what the other side reads (Envoy: 32 KiB), for
as long as the process runs. Nor does a client take a proxy from the environment, or go where an answer sends it.
"""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx


def http_client(
    *,
    verify: ssl.SSLContext | bool = True,
    timeout: float | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    base_url: str = "",
) -> httpx.AsyncClient:
    """A client that keeps no cookies, follows no redirects and knows no proxies.

    Args:
        verify: what is trusted over TLS, and who we are; the public CAs when True.
        timeout: seconds for each step of a request; five when None.
        transport: instead of the network.
        base_url: what relative URLs are relative to.
    """
    return httpx.AsyncClient(
        verify=verify,
        timeout=5.0 if timeout is None else timeout,
        transport=transport,
        base_url=base_url,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
        follow_redirects=False,
    )
