"""Who may do what: bearer tokens, their scopes, and what each route and method needs."""
