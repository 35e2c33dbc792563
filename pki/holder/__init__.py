"""The participant's side: a key and a certificate on disk, enrolled, renewed and confirmed."""
