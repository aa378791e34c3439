"""Who may do what, and who did it: tokens, limits, certificates and the audit log."""
