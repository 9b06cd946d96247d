//! What the product knows. Pure: no I/O, no async, no web, no SQL; the moment and random bytes are arguments.

pub mod access;
pub mod change;
pub mod event;
pub mod ids;
pub mod ip_range;
pub mod key;
pub mod lifetime;
pub mod mail;
pub mod mark;
pub mod names;
pub mod notice;
pub mod password;
pub mod permission;
pub mod roll;
pub mod tenant;
pub mod time;
pub mod token;
pub mod totp;
pub mod verdict;
