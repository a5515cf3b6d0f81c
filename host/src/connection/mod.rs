//! Remote systems: authentication, secrets, limits, and the one outgoing HTTP client.
