//! The second factor: codes of an authenticator app (RFC 6238: SHA-1, six digits, 30 seconds, one step either way) and the
//! recovery codes for when it is lost.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _,
    aead::{Aead as _, Payload},
};
use totp_rs::{Algorithm, Builder, Totp};

use super::{ids::AccountId, time::Time};

const STEP: u64 = 30;
const NONCE: usize = 12;
const SEED: usize = 20;

/// How many recovery codes there are.
pub const RECOVERY_CODES: usize = 10;
/// Without letters and digits that are read as one another.
const ALPHABET: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyz1";
/// 24 characters of 5 bits: 120 bits, enough for a fast hash (ASVS 5.0 6.5.2).
const RECOVERY_LENGTH: usize = 24;

/// The secret that app and server share: 160 bits. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; SEED]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Seed {
    /// Takes 20 random bytes.
    pub const fn from_random(bytes: [u8; SEED]) -> Self {
        Self(bytes)
    }

    /// What is stored: encrypted, and tied to the account.
    pub fn seal(&self, key: &[u8; 32], account: AccountId, nonce: [u8; NONCE]) -> Option<Vec<u8>> {
        let bound = account.0.to_be_bytes();
        let sealed = ChaCha20Poly1305::new(key.into()).encrypt(&nonce.into(), Payload { msg: &self.0, aad: &bound }).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Reads what is stored; `None` where the key or the account is another.
    pub fn open(sealed: &[u8], key: &[u8; 32], account: AccountId) -> Option<Self> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let bound = account.0.to_be_bytes();
        let seed = ChaCha20Poly1305::new(key.into()).decrypt(&nonce.into(), Payload { msg: sealed, aad: &bound }).ok()?;
        seed.try_into().ok().map(Self)
    }

    fn totp(&self) -> Totp {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(1)
            .with_step_duration(STEP)
            .with_secret(self.0.as_slice())
            .build_noncompliant()
    }

    /// The step whose code this is, now or one step either way.
    pub fn matched_step(&self, code: Code, now: Time) -> Option<i64> {
        let step = self.totp().check(&code.to_string(), u64::try_from(now.timestamp()).ok()?)?;
        i64::try_from(step).ok()
    }

    /// The code that an app shows at a moment: for the demo and tests.
    pub fn code_at(&self, at: Time) -> String {
        self.totp().generate(u64::try_from(at.timestamp()).unwrap_or_default()).to_string()
    }

    /// For typing into an app.
    pub fn base32(&self) -> String {
        self.totp().secret().to_base32()
    }

    /// Reads what [`Seed::base32`] writes.
    pub fn from_base32(text: &str) -> Option<Self> {
        let mut bits = text.bytes().map(|b| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|known| *known == b));
        let mut seed = [0; SEED];
        // Five bytes are eight digits.
        for bytes in seed.chunks_mut(5) {
            let group = (0..8).try_fold(0u64, |group, _| Some(group << 5 | bits.next()?? as u64))?;
            bytes.copy_from_slice(&group.to_be_bytes()[3..]);
        }
        bits.next().is_none().then_some(Self(seed))
    }

    /// For a QR code.
    pub fn uri(&self, email: &str) -> String {
        let account: String = email
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() || b"-._~@".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        format!("otpauth://totp/Keyward:{account}?secret={}&issuer=Keyward", self.base32())
    }
}

/// Six digits as a person typed them; spaces do not matter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// Reads six digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        (digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok().map(Self)).flatten()
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// Ten recovery codes, in groups of four.
pub fn recovery_codes(random: &[u8; RECOVERY_CODES * RECOVERY_LENGTH]) -> Vec<String> {
    random
        .chunks(RECOVERY_LENGTH)
        .map(|bytes| {
            let text: Vec<char> = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
            text.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
        })
        .collect()
}

/// A recovery code as it is hashed: without groups, case and look-alikes. `None` for what is none.
pub fn plain_recovery_code(text: &str) -> Option<String> {
    let plain: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            'l' | 'i' => '1',
            c => c,
        })
        .collect();
    (plain.len() == RECOVERY_LENGTH && plain.bytes().all(|b| ALPHABET.contains(&b))).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        chrono::DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        let seed = Seed::from_random(*b"12345678901234567890");
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")] {
            assert_eq!(seed.matched_step(Code::parse(code).unwrap(), at(seconds)), Some(seconds / 30));
            assert_eq!(seed.code_at(at(seconds)), code);
        }
    }

    #[test]
    fn one_step_either_way_is_taken_and_no_more() {
        let seed = Seed::from_random([9; 20]);
        let now = 1_700_000_010;
        for (steps, taken) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = Code::parse(&seed.code_at(at(now + steps * 30))).unwrap();
            assert_eq!(seed.matched_step(code, at(now)), taken.then_some(now / 30 + steps));
        }
    }

    #[test]
    fn a_seed_is_read_as_it_is_written() {
        let seed = Seed::from_random(*b"12345678901234567890");
        assert_eq!(seed.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(Seed::from_base32(&seed.base32()), Some(seed));
        for bad in ["", "GEZDGNBV", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQA"] {
            assert_eq!(Seed::from_base32(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sealed_seed_opens_for_its_account_and_key_only() {
        let seed = Seed::from_random([3; 20]);
        let sealed = seed.seal(&[1; 32], AccountId(7), [5; 12]).unwrap();
        assert_eq!(Seed::open(&sealed, &[1; 32], AccountId(7)), Some(seed));
        assert!(Seed::open(&sealed, &[1; 32], AccountId(8)).is_none());
        assert!(Seed::open(&sealed, &[2; 32], AccountId(7)).is_none());
        assert!(Seed::open(&sealed[..10], &[1; 32], AccountId(7)).is_none());
    }

    #[test]
    fn recovery_codes_are_read_however_they_are_typed() {
        let random = std::array::from_fn(|i| u8::try_from(i * 7 % 251).unwrap());
        let codes = recovery_codes(&random);
        assert_eq!((codes.len(), codes[0].len()), (10, 29));
        for code in &codes {
            let typed = code.to_uppercase().replace('-', " ");
            assert_eq!(plain_recovery_code(&typed), plain_recovery_code(code));
            assert!(plain_recovery_code(code).is_some());
        }
        assert!(plain_recovery_code("123456").is_none());
    }
}
