//! Rules for passwords.
