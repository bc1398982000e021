//! SHA-1, by which scripts are named. It guards nothing.

use sha1::{Digest, Sha1};

/// Digits of a hash.
pub const HEX_LEN: usize = 40;

/// The hash in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_script_has_the_name_that_redis_gives_it() {
        assert_eq!(super::hex(b"return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
