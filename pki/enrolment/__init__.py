"""Who may have a certificate, and with which key: codes, operators, requests, EST."""
