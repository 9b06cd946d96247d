//! Passwords: what is refused, and how the rest is kept.
//!
//! Length counts, composition does not (NIST SP 800-63B-4, OWASP ASVS 5.0 6.2): 15 characters, or 8 where a second factor is
//! there or required. Common passwords and words of the place are refused. Kept is an argon2id hash with its parameters.

use std::{
    collections::HashSet,
    sync::{LazyLock, OnceLock},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};

/// The fewest characters with a second factor, set up or required.
pub const SHORTEST_WITH_TOTP: usize = 8;
/// The fewest characters without a second factor.
pub const SHORTEST: usize = 15;
const LONGEST: usize = 128;
const LONGEST_BYTES: usize = 512;

/// Memory in KiB, passes and lanes: the floor of ASVS 5.0 appendix C.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Why a password is refused, in words for its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum PasswordError {
    #[error("Enter {0} characters or more.")]
    TooShort(usize),
    #[error("Enter 128 characters or fewer.")]
    TooLong,
    #[error("This password is one of the first that are tried. Choose another.")]
    Common,
    #[error("This password is mostly your name, your tenant’s or “Keyward”. Choose another.")]
    Context,
}

static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| common().collect());

/// The common passwords that are refused, in lower case.
pub fn common() -> impl Iterator<Item = &'static str> {
    include_str!("common_passwords.txt").lines()
}

/// Whether a password is too long to be looked at; asked before anything costly.
pub fn is_too_long(password: &str) -> bool {
    password.len() > LONGEST_BYTES || password.chars().count() > LONGEST
}

/// Checks a new password. `context` are names and addresses of the person and the tenant.
///
/// # Errors
/// See [`PasswordError`].
pub fn check(password: &str, second_factor: bool, context: &[&str]) -> Result<(), PasswordError> {
    if is_too_long(password) {
        return Err(PasswordError::TooLong);
    }
    let shortest = if second_factor { SHORTEST_WITH_TOTP } else { SHORTEST };
    if password.chars().count() < shortest {
        return Err(PasswordError::TooShort(shortest));
    }
    let folded = password.to_lowercase();
    if is_common(&folded) {
        return Err(PasswordError::Common);
    }
    if is_context(&folded, context) {
        return Err(PasswordError::Context);
    }
    Ok(())
}

/// A listed password, one with digits or signs around it, one repeated, or a run along the alphabet or keyboard.
fn is_common(folded: &str) -> bool {
    if COMMON.contains(folded) {
        return true;
    }
    let core = folded.trim_matches(|c: char| !c.is_alphabetic());
    if core.chars().count() >= 4 && (COMMON.contains(core) || COMMON.contains(plain(core).as_str())) {
        return true;
    }
    let characters: Vec<char> = folded.chars().collect();
    let different: HashSet<char> = characters.iter().copied().collect();
    if different.len() < 5 {
        return true;
    }
    let repeats = (1..=characters.len() / 2).any(|unit| {
        let whole = characters.iter().zip(characters.iter().skip(unit)).all(|(a, b)| a == b);
        whole && (unit <= 6 || COMMON.contains(characters[..unit].iter().collect::<String>().as_str()))
    });
    repeats || is_run(&characters)
}

/// What a password looks like with its usual stand-ins turned back: `p4ssw0rd` is `password`.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '0' => 'o',
            '1' | '!' => 'i',
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            c => c,
        })
        .collect()
}

/// Whether nearly all neighbours follow each other in the alphabet, among the digits, or along a row of the keyboard.
fn is_run(characters: &[char]) -> bool {
    const ROWS: [&str; 5] = ["abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let follows = |a: char, b: char| ROWS.iter().any(|row| row.contains(&format!("{a}{b}")) || row.contains(&format!("{b}{a}")));
    let steps = characters.windows(2).filter(|pair| follows(pair[0], pair[1]) || pair[0] == pair[1]).count();
    steps * 10 >= characters.len().saturating_sub(1) * 8
}

/// Whether too little is left without the words of the place.
fn is_context(folded: &str, context: &[&str]) -> bool {
    let folded_context = context.iter().map(|text| text.to_lowercase()).collect::<Vec<_>>();
    let mut words: Vec<&str> = folded_context.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric())).collect();
    words.extend(folded_context.iter().map(String::as_str));
    words.push("keyward");
    words.retain(|word| word.chars().count() >= 4);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let rest = words.iter().fold(folded.to_owned(), |rest, word| rest.replace(word, ""));
    rest.len() < folded.len() && rest.chars().filter(|c| c.is_alphabetic()).count() < SHORTEST_WITH_TOTP
}

fn argon2() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(memory, passes, lanes, None).unwrap_or_default())
}

/// The hash to keep, with its parameters; `None` only where the library refuses, which it does not for what [`check`] lets through.
pub fn hash(password: &str, salt: &[u8; 16]) -> Option<String> {
    argon2().hash_password_with_salt(password.as_bytes(), salt).ok().map(|hash: PasswordHash| hash.to_string())
}

/// Whether `password` is the one of `stored`. Without a stored hash the same work is done in vain, so that the time tells nothing.
pub fn verify(password: &str, stored: Option<&str>) -> bool {
    static DUMMY: OnceLock<String> = OnceLock::new();
    let dummy = || DUMMY.get_or_init(|| hash("no account has this", &[7; 16]).unwrap_or_default()).as_str();
    let parsed = PasswordHash::new(stored.unwrap_or_else(dummy));
    let matches = parsed.is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok());
    matches && stored.is_some()
}

/// Whether a stored hash was made with less work than is asked for today.
pub fn is_weak(stored: &str) -> bool {
    PasswordHash::new(stored)
        .ok()
        .and_then(|hash| Params::try_from(&hash).ok().map(|params| (hash.algorithm.as_str() == "argon2id", params)))
        .is_none_or(|(is_argon2id, params)| !is_argon2id || params.m_cost() < COST.0 || params.t_cost() < COST.1 || params.p_cost() < COST.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_alone_decides_and_a_second_factor_allows_shorter_ones() {
        let text = |n: usize| {
            "xq zw vk pj ty bm lu ".chars().cycle().take(n).enumerate().map(|(i, c)| if i % 22 == 21 { 'Ω' } else { c }).collect::<String>()
        };
        assert_eq!(check("kf8 wq!", true, &[]), Err(PasswordError::TooShort(8)));
        assert_eq!(check("kf8 wq!z", true, &[]), Ok(()));
        assert_eq!(check("kf8 wq!z7mvbxy", false, &[]), Err(PasswordError::TooShort(15)));
        assert_eq!(check("kf8 wq!z7mvbxyp", false, &[]), Ok(()));
        assert_eq!((check(&text(64), false, &[]), check(&text(128), false, &[])), (Ok(()), Ok(())));
        assert_eq!(check(&text(129), false, &[]), Err(PasswordError::TooLong));
        assert_eq!(check(&"🗝".repeat(129), false, &[]), Err(PasswordError::TooLong));
    }

    #[test]
    fn every_listed_password_is_refused() {
        assert!(common().count() >= 3_000);
        for listed in common() {
            assert_eq!(check(listed, true, &[]), Err(PasswordError::Common), "{listed}");
            assert!(check(&listed.to_uppercase(), true, &[]).is_err(), "{listed}");
        }
    }

    #[test]
    fn disguised_repeated_and_running_ones_are_refused() {
        for weak in [
            "P4ssw0rd!!!2026",
            "passwordpassword",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabc",
            "abcdefghijklmnop",
            "123456789012345",
            "qwertyuiopasdfgh",
        ] {
            assert_eq!(check(weak, true, &[]), Err(PasswordError::Common), "{weak}");
        }
    }

    #[test]
    fn words_of_the_place_do_not_make_a_password() {
        let context = ["Meridian Logistics", "meridian", "ines.ferreira@meridian.example"];
        for weak in ["Logistics2026!!!!!", "InesFerreira-2026", "Keyward-Meridian-1"] {
            assert_eq!(check(weak, false, &context), Err(PasswordError::Context), "{weak}");
        }
        assert_eq!(check("meridian kettle under rain", false, &context), Ok(()));
    }

    #[test]
    fn a_hash_matches_its_password_as_typed_and_tells_its_cost() {
        let stored = hash("Tall ships  sail", &[1; 16]).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("Tall ships  sail", Some(&stored)));
        for other in ["tall ships  sail", "Tall ships sail", "Tall ships  sail "] {
            assert!(!verify(other, Some(&stored)));
        }
        assert!(!verify("no account has this", None));
        assert!(!is_weak(&stored));
        assert!(is_weak("$argon2id$v=19$m=4096,t=1,p=1$AQEBAQEBAQEBAQEBAQEBAQ$2vqXJ9mXc0y4o1K0m0JYb0m5k7Qk1m5iHq3W1s0xkAo"));
    }
}
