"""The phone demo: a page that runs an exported model on the phone, and the server that delivers it."""
