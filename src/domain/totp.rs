//! TOTP codes (RFC 6238) and recovery codes.
