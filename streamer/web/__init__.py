"""The dashboard: pages that use what the API offers, in process and with the token of whoever looks at them."""
