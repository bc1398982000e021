//! Random command lines: mostly sensible, sometimes not, on few keys so that they meet.

use bytes::Bytes;

use crate::Line;

const KEYS: [&str; 8] = ["a", "b", "c", "{tag}1", "{tag}2", "", "key with blanks", "\u{e9}\0\r\n"];
const VALUES: [&str; 28] = [
    "",
    "0",
    "1",
    "-1",
    "10",
    "007",
    "-0",
    "+5",
    " 1",
    "1 ",
    "3.0",
    "abc",
    "Hello, World",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "9223372036854775808",
    "1e3",
    "1e400",
    "0x1p3",
    "inf",
    "-inf",
    "nan",
    "2.5",
    "-0.001",
    "1.7976931348623157e308",
    "a\0b\r\n",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
const INTEGERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "5",
    "-3",
    "17",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "",
    "1.5",
    "01",
];
/// Milliseconds: long over, or long to come.
const FAR_TIMES_MS: [&str; 10] = [
    "1",
    "1000",
    "1500000000000",
    "4102444800000",
    "4102444800001",
    "5000000000499",
    "5000000000500",
    "9000000000000000000",
    "-5",
    "0",
];
/// Seconds, the same.
const FAR_TIMES_S: [&str; 9] =
    ["1", "1500000000", "4102444800", "5000000000", "9223372036854775", "9223372036854776", "-5", "0", "x"];
/// From now; far from the times above, and from one another.
const DELAYS: [&str; 7] = ["100000", "200000", "1000000", "9223372036854775807", "0", "-1", "x"];
const CONDITIONS: [&str; 5] = ["nx", "XX", "gt", "LT", "huh"];

/// A repeatable source of command lines (splitmix64).
pub struct Generator {
    state: u64,
}

impl Generator {
    /// Seeded with `ELASTICKV_TEST_SEED`, or always the same.
    pub fn from_environment() -> Self {
        let seed = std::env::var("ELASTICKV_TEST_SEED").map_or(7, |seed| seed.parse().expect("the seed is a number"));
        println!("ELASTICKV_TEST_SEED={seed}");
        Self { state: seed }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn key(&mut self) -> &'static str {
        self.pick(&KEYS)
    }

    /// A command on strings or keys.
    pub fn command(&mut self) -> Line {
        let mut words: Vec<&str> = match self.below(45) {
            0..3 => vec!["get", self.key()],
            3..8 => {
                let mut words = vec!["set", self.key(), self.pick(&VALUES)];
                for _ in 0..self.below(4) {
                    words.extend(self.set_option());
                }
                words
            }
            8 => vec!["setnx", self.key(), self.pick(&VALUES)],
            9 => vec!["setex", self.key(), self.pick(&DELAYS), self.pick(&VALUES)],
            10 => vec!["psetex", self.key(), self.pick(&DELAYS), self.pick(&VALUES)],
            11 => vec!["getset", self.key(), self.pick(&VALUES)],
            12 => vec!["getdel", self.key()],
            13 | 14 => {
                let mut words = vec!["getex", self.key()];
                if !self.one_in(4) {
                    words.extend(self.expiry_option());
                }
                if self.one_in(8) {
                    words.extend(self.expiry_option());
                }
                words
            }
            15 => vec!["mget", self.key(), self.key(), self.key()],
            16 => vec!["mset", self.key(), self.pick(&VALUES), self.key(), self.pick(&VALUES)],
            17 => vec!["msetnx", self.key(), self.pick(&VALUES), self.key(), self.pick(&VALUES)],
            18 => vec!["append", self.key(), self.pick(&VALUES)],
            19 => vec!["strlen", self.key()],
            20 | 21 => vec![self.pick(&["getrange", "substr"]), self.key(), self.pick(&INTEGERS), self.pick(&INTEGERS)],
            22 => vec!["setrange", self.key(), self.pick(&INTEGERS), self.pick(&VALUES)],
            23 => vec![self.pick(&["incr", "decr"]), self.key()],
            24 | 25 => vec![self.pick(&["incrby", "decrby"]), self.key(), self.pick(&INTEGERS)],
            26 => vec!["incrbyfloat", self.key(), self.pick(&VALUES)],
            27 => vec![self.pick(&["del", "unlink"]), self.key(), self.key()],
            28 => vec![self.pick(&["exists", "touch"]), self.key(), self.key()],
            29 => vec!["type", self.key()],
            30 => self.with_conditions(&["pexpireat"], &FAR_TIMES_MS, &CONDITIONS),
            31 => self.with_conditions(&["expireat"], &FAR_TIMES_S, &CONDITIONS),
            // GT and LT of two times from now would depend on the milliseconds in between.
            32 => self.with_conditions(&["expire", "pexpire"], &DELAYS, &CONDITIONS[..2]),
            33..36 => vec![self.pick(&["expiretime", "pexpiretime"]), self.key()],
            36..38 => vec![self.pick(&["ttl", "pttl"]), self.key()],
            38 => vec!["persist", self.key()],
            // Not DBSIZE: Redis counts what has expired until something touches it.
            39 => vec!["exists", "a", "b", "c"],
            40 | 41 => vec![self.pick(&["rename", "RENAMENX"]), self.key(), self.key()],
            42 | 43 => {
                let mut words = vec!["copy", self.key(), self.key()];
                while self.one_in(2) {
                    words.extend(self.copy_option());
                }
                words
            }
            _ => vec![self.pick(&["nothing", "GET ", "quit_", ""]), self.pick(&VALUES), self.key()],
        };
        if self.one_in(40) {
            words.push("extra");
        }
        if self.one_in(40) && words.len() > 1 {
            words.pop();
        }
        let mut line: Line = words.into_iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        if self.one_in(5) {
            line[0] = line[0].to_ascii_uppercase().into();
        }
        line
    }

    fn with_conditions(
        &mut self,
        names: &[&'static str],
        times: &[&'static str],
        conditions: &[&'static str],
    ) -> Vec<&'static str> {
        let mut words = vec![self.pick(names), self.key(), self.pick(times)];
        while self.one_in(2) {
            words.push(self.pick(conditions));
        }
        words
    }

    fn expiry_option(&mut self) -> Vec<&'static str> {
        match self.below(6) {
            0 => vec![self.pick(&["ex", "EX"]), self.pick(&DELAYS)],
            1 => vec!["px", self.pick(&DELAYS)],
            2 => vec!["exat", self.pick(&FAR_TIMES_S)],
            3 => vec!["PXAT", self.pick(&FAR_TIMES_MS)],
            4 => vec!["persist"],
            _ => vec![self.pick(&["keepttl", "huh", "ex", "pxat"])],
        }
    }

    fn set_option(&mut self) -> Vec<&'static str> {
        match self.below(8) {
            0 => vec!["nx"],
            1 => vec!["XX"],
            2 => vec!["get"],
            3 => vec!["KeepTTL"],
            _ => self.expiry_option(),
        }
    }

    fn copy_option(&mut self) -> Vec<&'static str> {
        match self.below(6) {
            0..3 => vec!["REPLACE"],
            3 | 4 => vec!["db", self.pick(&["0", "1", "15", "16", "-1", "x", "01", "3000000000"])],
            _ => vec![self.pick(&["db", "huh"])],
        }
    }

    /// A number set, and another added to it.
    pub fn float_sum(&mut self) -> [Line; 2] {
        let words = |words: [&str; 3]| words.map(|word| Bytes::copy_from_slice(word.as_bytes())).to_vec();
        let (old, increment) = (self.number(), self.number());
        [words(["set", "f", &old]), words(["incrbyfloat", "f", &increment])]
    }

    fn number(&mut self) -> String {
        let sign = self.pick(&["", "", "-", "+"]);
        let body = match self.below(8) {
            0 => format!("{}.{}", self.digits(3), self.digits(2)),
            1 => self.digits(20),
            2 => format!("{}.{}", self.digits(12), self.digits(25)),
            3 => format!(".{}", self.digits(22)),
            4 => format!("{}e{}", self.digits(4), self.below(60) as i64 - 30),
            5 => format!("{}.{}E{}", self.digits(2), self.digits(18), self.below(10_200) as i64 - 5_100),
            6 => {
                let (whole, fraction) = (self.below(1 << 30), self.below(1 << 30));
                format!("0x{whole:x}.{fraction:x}p{}", self.below(140) as i64 - 70)
            }
            _ => format!("0.{}{}", "0".repeat(self.below(18)), self.digits(6)),
        };
        format!("{sign}{body}")
    }

    /// 1 to `most` digits.
    fn digits(&mut self, most: usize) -> String {
        (0..=self.below(most)).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    /// A short key over the alphabet of [`Generator::pattern`].
    pub fn pattern_key(&mut self) -> Bytes {
        (0..self.below(5)).map(|_| b"ab]-^\xff"[self.below(6)]).collect()
    }

    /// A pattern with many special bytes.
    pub fn pattern(&mut self) -> Bytes {
        (0..self.below(8)).map(|_| b"ab*?[]^-\\\xff*[a"[self.below(13)]).collect()
    }
}
