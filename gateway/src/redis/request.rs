//! Requests off the wire: arrays of bulk strings, and inline commands as people type them into telnet.
//!
//! The parser is incremental. It remembers how far the request at the front of the buffer has been read, so a request
//! that arrives in a thousand pieces is scanned once, and every announced size is checked before anything is allocated
//! for it. A complete request is cut off the buffer; its arguments are slices of it, without a copy.
//!
//! Why not `redis_protocol::resp2::decode`: it begins again at the first byte whenever more arrives (quadratic in the
//! number of arguments), descends into nested arrays without bound, and knows no limits. It decodes our replies in the
//! tests instead.

use bytes::{Bytes, BytesMut};
use commands::redis::error::MAX_VALUE_BYTES;
use thiserror::Error;

/// Most arguments of one request.
pub(super) const MAX_ARGUMENTS: usize = 1_048_576;
/// Longest argument. A value may take all of it; that keys are shorter is checked where they are used.
pub(super) const MAX_BULK_BYTES: usize = MAX_VALUE_BYTES + (64 << 10);
/// Longest inline request, and longest line that announces a size.
pub(super) const MAX_INLINE_BYTES: usize = 64 << 10;
/// Largest request.
pub(super) const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Why bytes are not a request. `Display` is the error line, behind which the connection closes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum RequestError {
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    #[error("ERR Protocol error: too big mbulk count string")]
    MultibulkLine,
    #[error("ERR Protocol error: too big bulk count string")]
    BulkLine,
    #[error("ERR Protocol error: expected '$', got '{0}'")]
    ExpectedBulk(char),
    #[error("ERR Protocol error: a bulk string does not end with CRLF")]
    BulkEnd,
    #[error("ERR Protocol error: too big inline request")]
    InlineTooBig,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("ERR Protocol error: request larger than {MAX_REQUEST_BYTES} bytes")]
    TooBig,
}

/// Reads requests off the front of a buffer.
///
/// Invariant: everything before `scanned` is the beginning of one request, and `found` are its arguments in there.
#[derive(Debug, Default)]
pub(super) struct RequestParser {
    scanned: usize,
    /// Start and end of each argument.
    found: Vec<(usize, usize)>,
    /// Arguments still to come; 0: the next byte begins a request.
    missing: usize,
    /// Announced length of the argument that comes next.
    bulk: Option<usize>,
}

impl RequestParser {
    /// The next request, its name first, never empty; `None` when the buffer ends before the request does.
    ///
    /// After an error the buffer makes no sense any more.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, RequestError> {
        loop {
            if self.missing == 0 {
                match buffer.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(line) = self.line(buffer, RequestError::MultibulkLine)? else { return Ok(None) };
                        let count = number(&buffer[1..line]).ok_or(RequestError::MultibulkLength)?;
                        self.scanned = line + 2;
                        match usize::try_from(count) {
                            // Nothing asked, nothing answered; Redis takes negative counts for that as well.
                            Ok(0) | Err(_) => self.forget(buffer),
                            Ok(count) if count > MAX_ARGUMENTS => return Err(RequestError::MultibulkLength),
                            Ok(count) => self.missing = count,
                        }
                    }
                    Some(_) => match self.inline(buffer)? {
                        None => return Ok(None),
                        Some(args) if args.is_empty() => {}
                        Some(args) => return Ok(Some(args)),
                    },
                }
                continue;
            }
            if !self.argument(buffer)? {
                return if buffer.len() > MAX_REQUEST_BYTES { Err(RequestError::TooBig) } else { Ok(None) };
            }
            if self.missing == 0 {
                let request = buffer.split_to(self.scanned).freeze();
                self.scanned = 0;
                return Ok(Some(self.found.drain(..).map(|(start, end)| request.slice(start..end)).collect()));
            }
        }
    }

    /// How many bytes of the request at the front of the buffer are certainly still to come.
    pub(super) fn wanted(&self, buffer: &BytesMut) -> usize {
        self.bulk.map_or(0, |length| (self.scanned + length + 2).saturating_sub(buffer.len()))
    }

    /// Reads one argument; false when the buffer ends before it.
    fn argument(&mut self, buffer: &BytesMut) -> Result<bool, RequestError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                match buffer.get(self.scanned) {
                    None => return Ok(false),
                    Some(b'$') => {}
                    Some(&other) => return Err(RequestError::ExpectedBulk(shown(other))),
                }
                let Some(line) = self.line(buffer, RequestError::BulkLine)? else { return Ok(false) };
                let length = number(&buffer[self.scanned + 1..line]).and_then(|length| usize::try_from(length).ok());
                let length = length.filter(|length| *length <= MAX_BULK_BYTES).ok_or(RequestError::BulkLength)?;
                self.scanned = line + 2;
                self.bulk = Some(length);
                length
            }
        };
        let end = self.scanned + length;
        match buffer.get(end..end + 2) {
            None => return Ok(false),
            Some(b"\r\n") => {}
            Some(_) => return Err(RequestError::BulkEnd),
        }
        if end + 2 > MAX_REQUEST_BYTES {
            return Err(RequestError::TooBig);
        }
        self.found.push((self.scanned, end));
        self.scanned = end + 2;
        self.missing -= 1;
        self.bulk = None;
        Ok(true)
    }

    /// Where the line that begins at `scanned` ends, in CRLF; `None` when the buffer ends before it.
    fn line(&self, buffer: &BytesMut, too_long: RequestError) -> Result<Option<usize>, RequestError> {
        let rest = &buffer[self.scanned..];
        // A size has few digits: looking at the line again when more arrives costs nothing.
        match rest.iter().take(MAX_INLINE_BYTES).position(|&byte| byte == b'\r') {
            None if rest.len() >= MAX_INLINE_BYTES => Err(too_long),
            None => Ok(None),
            Some(at) => match rest.get(at + 1) {
                None => Ok(None),
                Some(b'\n') => Ok(Some(self.scanned + at)),
                Some(_) if too_long == RequestError::BulkLine => Err(RequestError::BulkLength),
                Some(_) => Err(RequestError::MultibulkLength),
            },
        }
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, RequestError> {
        let from = self.scanned.min(buffer.len());
        let Some(end) = buffer[from..].iter().position(|&byte| byte == b'\n').map(|at| from + at) else {
            self.scanned = buffer.len();
            return if buffer.len() > MAX_INLINE_BYTES { Err(RequestError::InlineTooBig) } else { Ok(None) };
        };
        if end > MAX_INLINE_BYTES {
            return Err(RequestError::InlineTooBig);
        }
        let line = buffer.split_to(end + 1);
        self.scanned = 0;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        split_words(line.strip_suffix(b"\r").unwrap_or(line)).map(Some)
    }

    fn forget(&mut self, buffer: &mut BytesMut) {
        let _ = buffer.split_to(self.scanned);
        self.scanned = 0;
    }
}

/// A size as it is announced: digits with an optional sign, nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A byte as it may stand in an error line.
fn shown(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' }
}

/// Words of an inline request, with the quoting of redis-cli: `"a\n\x00"` and `'it\'s'`.
fn split_words(line: &[u8]) -> Result<Vec<Bytes>, RequestError> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let Some(&first) = rest.first() else { return Ok(words) };
        let (word, behind) = match first {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => single_quoted(&rest[1..])?,
            _ => bare(rest)?,
        };
        words.push(word.into());
        rest = behind;
    }
}

/// A word may begin bare and go on quoted: `a"b c"`.
fn bare(line: &[u8]) -> Result<(Vec<u8>, &[u8]), RequestError> {
    let end = line.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\''));
    let end = end.unwrap_or(line.len());
    let mut word = line[..end].to_vec();
    let (quoted, rest) = match line.get(end) {
        Some(b'"') => double_quoted(&line[end + 1..])?,
        Some(b'\'') => single_quoted(&line[end + 1..])?,
        _ => (Vec::new(), &line[end..]),
    };
    word.extend_from_slice(&quoted);
    Ok((word, rest))
}

fn double_quoted(mut line: &[u8]) -> Result<(Vec<u8>, &[u8]), RequestError> {
    let mut word = Vec::new();
    loop {
        match *line {
            [b'\\', b'x', high, low, ref rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push((hex(high) << 4) | hex(low));
                line = rest;
            }
            [b'\\', escaped, ref rest @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                line = rest;
            }
            [b'"', ref rest @ ..] => return closed(word, rest),
            [byte, ref rest @ ..] => {
                word.push(byte);
                line = rest;
            }
            [] => return Err(RequestError::UnbalancedQuotes),
        }
    }
}

fn single_quoted(mut line: &[u8]) -> Result<(Vec<u8>, &[u8]), RequestError> {
    let mut word = Vec::new();
    loop {
        match *line {
            [b'\\', b'\'', ref rest @ ..] => {
                word.push(b'\'');
                line = rest;
            }
            [b'\'', ref rest @ ..] => return closed(word, rest),
            [byte, ref rest @ ..] => {
                word.push(byte);
                line = rest;
            }
            [] => return Err(RequestError::UnbalancedQuotes),
        }
    }
}

/// A closing quote must end the word.
fn closed(word: Vec<u8>, rest: &[u8]) -> Result<(Vec<u8>, &[u8]), RequestError> {
    match rest.first() {
        Some(byte) if !byte.is_ascii_whitespace() => Err(RequestError::UnbalancedQuotes),
        _ => Ok((word, rest)),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All requests in `bytes`, handed over in pieces that end at `cuts`.
    fn parse_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Vec<Bytes>>, RequestError> {
        let mut parser = RequestParser::default();
        let mut buffer = BytesMut::new();
        let mut requests = Vec::new();
        let mut from = 0;
        for &cut in cuts.iter().chain([&bytes.len()]) {
            buffer.extend_from_slice(&bytes[from..cut]);
            from = cut;
            while let Some(request) = parser.next(&mut buffer)? {
                requests.push(request);
            }
        }
        Ok(requests)
    }

    fn parse(bytes: &[u8]) -> Result<Vec<Vec<Bytes>>, RequestError> {
        parse_in_pieces(bytes, &[])
    }

    fn encode(requests: &[Vec<Bytes>]) -> Vec<u8> {
        let mut out = Vec::new();
        for request in requests {
            out.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
            for arg in request {
                out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                out.extend_from_slice(arg);
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    fn words(words: &[&str]) -> Vec<Bytes> {
        words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn any_cut_gives_the_same_requests() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\nPING 'a b'\r\n*0\r\n\r\n*-1\r\n*1\r\n$0\r\n\r\n";
        let whole = parse(bytes).unwrap();
        assert_eq!(whole, [words(&["SET", "k", "\r\n\r\n"]), words(&["PING", "a b"]), words(&[""])]);
        for cut in 0..bytes.len() {
            assert_eq!(parse_in_pieces(bytes, &[cut]).unwrap(), whole, "cut at {cut}");
        }
        let everywhere: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(parse_in_pieces(bytes, &everywhere).unwrap(), whole);
    }

    #[test]
    fn sizes_are_refused_when_they_are_announced() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert_eq!(refused(b"*1048577\r\n"), RequestError::MultibulkLength);
        assert_eq!(refused(b"*x\r\n"), RequestError::MultibulkLength);
        assert_eq!(refused(b"*+1\r\n"), RequestError::MultibulkLength);
        assert_eq!(refused(b"*99999999999999999999\r\n"), RequestError::MultibulkLength);
        assert_eq!(refused(b"*1\rx"), RequestError::MultibulkLength);
        assert_eq!(refused(b"*1\r\n$33619969\r\n"), RequestError::BulkLength);
        assert_eq!(refused(b"*1\r\n$-1\r\n"), RequestError::BulkLength);
        assert_eq!(refused(b"*1\r\n$\r\n"), RequestError::BulkLength);
        assert_eq!(refused(b"*1\r\n:1\r\n").to_string(), "ERR Protocol error: expected '$', got ':'");
        assert_eq!(refused(b"*1\r\n$1\r\nabc"), RequestError::BulkEnd);
        let long = [b"*".as_slice(), &vec![b'1'; MAX_INLINE_BYTES]].concat();
        assert_eq!(refused(&long), RequestError::MultibulkLine);
        let long = [b"*1\r\n$".as_slice(), &vec![b'1'; MAX_INLINE_BYTES]].concat();
        assert_eq!(refused(&long), RequestError::BulkLine);
        assert_eq!(refused(&vec![b'a'; MAX_INLINE_BYTES + 1]), RequestError::InlineTooBig);
    }

    #[test]
    fn a_million_announced_arguments_cost_nothing_before_they_come() {
        let mut parser = RequestParser::default();
        let mut buffer = BytesMut::from(b"*1048576\r\n$33554432\r\nab".as_slice());
        assert_eq!(parser.next(&mut buffer), Ok(None));
        assert_eq!(parser.found.capacity(), 0);
        assert_eq!(parser.wanted(&buffer), 33_554_432);
    }

    #[test]
    fn a_request_has_a_largest_size() {
        let mut parser = RequestParser::default();
        let mut buffer = BytesMut::from(b"*3\r\n".as_slice());
        let argument = [b"$33554432\r\n".as_slice(), &vec![b'a'; 33_554_432], b"\r\n"].concat();
        buffer.extend_from_slice(&argument);
        assert_eq!(parser.next(&mut buffer), Ok(None));
        buffer.extend_from_slice(&argument);
        assert_eq!(parser.next(&mut buffer), Err(RequestError::TooBig));
    }

    #[test]
    fn inline_words_are_quoted_as_in_redis_cli() {
        let line = |text: &str| parse(format!("{text}\n").as_bytes());
        assert_eq!(line("  set  k\tv ").unwrap(), [words(&["set", "k", "v"])]);
        assert_eq!(line(r#"set "a\x41\n\"" 'it\'s' """#).unwrap(), [words(&["set", "aA\n\"", "it's", ""])]);
        assert_eq!(line(r#"get a"b c""#).unwrap(), [words(&["get", "ab c"])]);
        for unbalanced in [r#"get "a"#, r#"get 'a"#, r#"get "a"b"#, r#"get 'a'b"#] {
            assert_eq!(line(unbalanced), Err(RequestError::UnbalancedQuotes), "{unbalanced}");
        }
        assert_eq!(line("   ").unwrap(), Vec::<Vec<Bytes>>::new());
    }

    #[test]
    fn what_the_reference_encoder_writes_is_read() {
        use redis_protocol::resp2::encode::extend_encode;
        use redis_protocol::resp2::types::BytesFrame;
        let args = words(&["SET", "key", "value \r\n"]);
        let frame = BytesFrame::Array(args.iter().cloned().map(BytesFrame::BulkString).collect());
        let mut bytes = BytesMut::new();
        extend_encode(&mut bytes, &frame, false).unwrap();
        assert_eq!(parse(&bytes).unwrap(), [args]);
    }

    fn requests() -> impl Strategy<Value = Vec<Vec<Bytes>>> {
        let arg = prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        prop::collection::vec(prop::collection::vec(arg, 1..6), 0..6)
    }

    proptest! {
        #[test]
        fn requests_round_trip_however_they_are_cut(
            requests in requests(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = encode(&requests);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(parse_in_pieces(&bytes, &cuts).unwrap(), requests);
        }

        #[test]
        fn junk_never_panics_and_cuts_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![
                3 => prop::sample::select(b"*$:\r\n01-9\"'\\x ".to_vec()),
                1 => any::<u8>(),
            ], 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(bytes.len() + 1);
            prop_assert_eq!(parse_in_pieces(&bytes, &[cut]), parse(&bytes));
        }
    }
}
