//! Glob patterns of KEYS and SCAN, with the meaning that Redis gives them, oddities included.
//!
//! `*` any bytes · `?` one byte · `[a-z]`, `[^x]` one byte of a class · `\x` the byte x itself. Bytes, not characters.
//! An unclosed class ends with the pattern. The empty key matches the empty pattern only. Bytes in a class compare
//! signed, as on x86: the range `[\x7f-\x80]` is everything.
//!
//! Matching is iterative: it takes at most (pattern length) × (key length) steps, whatever the pattern.

/// A pattern, taken apart once to match many keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`
    AnyBytes,
    /// `?`
    AnyByte,
    /// A byte itself.
    Byte(u8),
    /// `[…]`
    Class {
        /// `^`
        negated: bool,
        /// Inclusive.
        ranges: Vec<(i8, i8)>,
    },
}

impl Token {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Token::AnyBytes | Token::AnyByte => true,
            Token::Byte(wanted) => *wanted == byte,
            Token::Class { negated, ranges } => {
                let byte = byte as i8;
                ranges.iter().any(|&(low, high)| low <= byte && byte <= high) != *negated
            }
        }
    }
}

impl Pattern {
    /// Every string of bytes is a pattern.
    pub fn new(pattern: &[u8]) -> Self {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            let token = match (byte, behind) {
                (b'*', _) => Token::AnyBytes,
                (b'?', _) => Token::AnyByte,
                (b'[', _) => read_class(&mut rest),
                (b'\\', [escaped, behind @ ..]) => {
                    rest = behind;
                    Token::Byte(*escaped)
                }
                _ => Token::Byte(byte),
            };
            if token != Token::AnyBytes || tokens.last() != Some(&Token::AnyBytes) {
                tokens.push(token);
            }
        }
        Self { tokens }
    }

    /// Whether a whole key matches.
    pub fn matches(&self, key: &[u8]) -> bool {
        if key.is_empty() {
            return self.tokens.is_empty();
        }
        let (mut at, mut token) = (0, 0);
        // Behind the last `*`: the token that follows it, and where in the key that was tried last.
        let mut star: Option<(usize, usize)> = None;
        while at < key.len() {
            match self.tokens.get(token) {
                Some(Token::AnyBytes) => {
                    star = Some((token + 1, at));
                    token += 1;
                }
                Some(one) if one.takes(key[at]) => {
                    token += 1;
                    at += 1;
                }
                _ => {
                    // Only the last `*` can help: what an earlier one could take, it can take too.
                    let Some((after_star, tried)) = star else {
                        return false;
                    };
                    star = Some((after_star, tried + 1));
                    (token, at) = (after_star, tried + 1);
                }
            }
        }
        self.tokens[token..].iter().all(|token| *token == Token::AnyBytes)
    }
}

/// Reads a class behind its bracket.
fn read_class(rest: &mut &[u8]) -> Token {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        *rest = match *rest {
            [] => break,
            [b'\\', byte, behind @ ..] => {
                ranges.push((*byte as i8, *byte as i8));
                behind
            }
            [b']', behind @ ..] => {
                *rest = behind;
                break;
            }
            [low, b'-', high, behind @ ..] => {
                let (low, high) = (*low as i8, *high as i8);
                ranges.push((low.min(high), low.max(high)));
                behind
            }
            [byte, behind @ ..] => {
                ranges.push((*byte as i8, *byte as i8));
                behind
            }
        };
    }
    Token::Class { negated, ranges }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, key: &str) -> bool {
        Pattern::new(pattern.as_bytes()).matches(key.as_bytes())
    }

    #[test]
    fn patterns_mean_what_redis_says() {
        for (pattern, key) in [
            ("h?llo", "hallo"),
            ("h*llo", "hllo"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hello"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("a**b", "ab"),
            ("a*", "a"),
            ("", ""),
            ("*a*b", "xaxxab"),
            ("[^]", "x"),
            ("[abc", "b"),
            ("[^", "x"),
            ("a\\", "a\\"),
            ("[a-]", "^"),
        ] {
            assert!(matches(pattern, key), "{pattern} {key}");
        }
        for (pattern, key) in [
            ("h?llo", "hllo"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("*", ""),
            ("a", ""),
            ("", "a"),
            ("a*b", "abc"),
            ("[]", "x"),
            ("[", "["),
            ("\\?", "x"),
            ("**", ""),
        ] {
            assert!(!matches(pattern, key), "{pattern} {key}");
        }
    }

    #[test]
    fn stars_without_a_match_do_not_explode() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }

    /// The definition, followed literally: exponential, but obviously right.
    fn defined(tokens: &[Token], key: &[u8]) -> bool {
        match tokens.split_first() {
            None => key.is_empty(),
            Some((Token::AnyBytes, rest)) => (0..=key.len()).any(|taken| defined(rest, &key[taken..])),
            Some((one, rest)) => key.split_first().is_some_and(|(&byte, key)| one.takes(byte) && defined(rest, key)),
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", key in "[ab]{1,8}") {
            let compiled = Pattern::new(pattern.as_bytes());
            prop_assert_eq!(compiled.matches(key.as_bytes()), defined(&compiled.tokens, key.as_bytes()));
        }

        #[test]
        fn no_pattern_panics(pattern: Vec<u8>, key: Vec<u8>) {
            let _ = Pattern::new(&pattern).matches(&key);
        }
    }
}
