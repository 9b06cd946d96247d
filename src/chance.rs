//! The only place that draws random bytes: from the operating system.

/// Fills `bytes` from the operating system's generator. Without one nothing safe can be done, so the process stops.
#[allow(clippy::disallowed_methods)]
pub fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "the operating system gives no random bytes");
        std::process::abort();
    }
}

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}
