//! Kinds of parameters: which texts they take, and how those are written back.
//!
//! Sentences are those of Redis 7.0, so are the canonical forms: `1mb` comes back as `1048576`, `KEA` as `AKE`.

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    YesNo,
    /// Within these bounds.
    Integer(i128, i128),
    /// Bytes with an optional unit, within these bounds.
    Memory(i128, i128),
    /// The same, or a part of a hundred.
    MemoryOrPercent,
    OneOf(&'static [&'static str]),
    /// Some of these words; the first stands alone and for none.
    AnyOf(&'static [&'static str]),
    Text,
    /// `seconds changes …`
    SavePoints,
    /// `class hard soft seconds …`; classes that are not named stay as they are.
    BufferLimits,
    /// Three numbers.
    OomValues,
    /// Numbers from 0 to 100.
    Percentiles,
    /// Classes of keyspace events.
    Events,
    Hostname,
    /// Where the gateway listens: its configuration file says so.
    Address,
    /// The port on which it listens.
    Listener,
}

type Checked = Result<String, String>;

impl Kind {
    /// The canonical form of `text`, or why it cannot be. `before` is what it was.
    pub(super) fn check(self, text: &str, before: &str) -> Checked {
        match self {
            Kind::YesNo => match () {
                () if text.eq_ignore_ascii_case("yes") => Ok("yes".to_owned()),
                () if text.eq_ignore_ascii_case("no") => Ok("no".to_owned()),
                () => refuse("argument must be 'yes' or 'no'"),
            },
            Kind::Integer(least, most) => match strict_integer(text) {
                Some(number) => within(i128::from(number), least, most),
                None => refuse("argument couldn't be parsed into an integer"),
            },
            Kind::Memory(least, most) => match bytes(text) {
                Some(bytes) => within(i128::from(bytes), least, most),
                None => refuse("argument must be a memory value"),
            },
            Kind::MemoryOrPercent => memory_or_percent(text),
            Kind::OneOf(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                Some(word) => Ok((*word).to_owned()),
                None => none_of(words),
            },
            Kind::AnyOf(words) => any_of(words, text),
            Kind::Text => Ok(text.to_owned()),
            Kind::SavePoints => save_points(text),
            Kind::BufferLimits => buffer_limits(text, before),
            Kind::OomValues => oom_values(text),
            Kind::Percentiles => percentiles(text),
            Kind::Events => events(text),
            Kind::Hostname => {
                match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
                    true => Ok(text.to_owned()),
                    false => refuse("Hostnames may only contain alphanumeric characters, hyphens or dots"),
                }
            }
            Kind::Address if text == before => Ok(text.to_owned()),
            Kind::Address => refuse(
                "Failed to bind to specified addresses: the configuration file of the gateway says where it listens",
            ),
            Kind::Listener => match strict_integer(text) {
                Some(_) if text == before => Ok(text.to_owned()),
                Some(port) if (0..=65_535).contains(&port) => {
                    refuse("Unable to listen on this port: the configuration file of the gateway says where it listens")
                }
                Some(_) => refuse("argument must be between 0 and 65535 inclusive"),
                None => refuse("argument couldn't be parsed into an integer"),
            },
        }
    }
}

fn refuse(sentence: &str) -> Checked {
    Err(sentence.to_owned())
}

fn none_of(words: &[&str]) -> Checked {
    Err(format!("argument(s) must be one of the following: {}", words.join(", ")))
}

fn within(number: i128, least: i128, most: i128) -> Checked {
    if (least..=most).contains(&number) {
        Ok(number.to_string())
    } else {
        Err(format!("argument must be between {least} and {most} inclusive"))
    }
}

/// Digits with an optional minus, nothing else, no leading zeros.
fn strict_integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// `64`, `64mb`, `1G`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn memory_or_percent(text: &str) -> Checked {
    if let Some(percent) = text.strip_suffix('%') {
        return match strict_integer(percent) {
            Some(percent) if percent > 100 => refuse("percentage argument must be less or equal to 100"),
            Some(percent) if percent >= 0 => Ok(text.to_owned()),
            _ => refuse("argument must be a memory or percent value"),
        };
    }
    bytes(text).map_or_else(|| refuse("argument must be a memory or percent value"), |bytes| Ok(bytes.to_string()))
}

fn any_of(words: &[&str], text: &str) -> Checked {
    let mut chosen = vec![false; words.len()];
    let mut any = false;
    for part in text.split(' ') {
        match words.iter().position(|word| word.eq_ignore_ascii_case(part)) {
            Some(at) => chosen[at] = true,
            None => return none_of(words),
        }
        any = true;
    }
    if !any {
        return none_of(words);
    }
    let picked: Vec<&str> =
        words.iter().zip(&chosen).skip(1).filter(|(_, chosen)| **chosen).map(|(word, _)| *word).collect();
    if picked.contains(&"save") && picked.contains(&"nosave") {
        return refuse("shutdown options SAVE and NOSAVE can't be used simultaneously");
    }
    Ok(if picked.is_empty() { words[0].to_owned() } else { picked.join(" ") })
}

fn save_points(text: &str) -> Checked {
    if text.is_empty() {
        return Ok(String::new());
    }
    let numbers: Option<Vec<i64>> = text.split(' ').map(strict_integer).collect();
    match numbers {
        Some(numbers) if numbers.len() % 2 == 0 && numbers.chunks(2).all(|pair| pair[0] >= 1 && pair[1] >= 0) => {
            Ok(text.to_owned())
        }
        _ => refuse("Invalid save parameters"),
    }
}

fn buffer_limits(text: &str, before: &str) -> Checked {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return refuse("Wrong number of arguments in buffer limit configuration.");
    }
    let mut limits: Vec<String> = before.split_whitespace().map(str::to_owned).collect();
    for part in words.chunks(4) {
        let class = match part[0].to_ascii_lowercase().as_str() {
            "normal" => "normal",
            "slave" | "replica" => "slave",
            "pubsub" => "pubsub",
            _ => return refuse("Invalid client class specified in buffer limit configuration."),
        };
        let seconds = strict_integer(part[3]).and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(hard), Some(soft), Some(seconds)) = (bytes(part[1]), bytes(part[2]), seconds) else {
            return refuse("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        };
        if let Some(at) = limits.iter().position(|word| word == class) {
            limits.splice(at + 1..at + 4, [hard.to_string(), soft.to_string(), seconds.to_string()]);
        }
    }
    Ok(limits.join(" "))
}

fn oom_values(text: &str) -> Checked {
    let words: Vec<&str> = text.split(' ').collect();
    if words.len() != 3 {
        return refuse("wrong number of arguments");
    }
    let fits = |word: &&str| strict_integer(word).is_some_and(|number| (-2000..=2000).contains(&number));
    match words.iter().all(fits) {
        true => Ok(text.to_owned()),
        false => refuse("Invalid oom-score-adj-values, elements must be between -2000 and 2000."),
    }
}

/// The numbers of a list of percentiles, as it was checked.
pub(super) fn percentile_numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn percentiles(text: &str) -> Checked {
    let mut numbers = Vec::new();
    for word in text.split_whitespace() {
        match word.parse::<f64>() {
            Ok(number) if (0.0..=100.0).contains(&number) => numbers.push(number.to_string()),
            Ok(number) if !number.is_nan() => {
                return refuse("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
            }
            _ => return refuse("Invalid latency-tracking-info-percentiles parameters"),
        }
    }
    Ok(numbers.join(" "))
}

/// All classes of events but those that have to be asked for by name.
const ALL_EVENTS: &str = "g$lshzxetd";

fn events(text: &str) -> Checked {
    if !text.chars().all(|class| class == 'A' || "KEmn".contains(class) || ALL_EVENTS.contains(class)) {
        return refuse("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    let has = |class: char| text.contains(class) || (text.contains('A') && ALL_EVENTS.contains(class));
    let mut canonical = String::new();
    if ALL_EVENTS.chars().all(has) {
        canonical.push('A');
    } else {
        canonical.extend(ALL_EVENTS.chars().filter(|class| has(*class)));
        if has('n') {
            canonical.push('n');
        }
    }
    canonical.extend("KEm".chars().filter(|class| has(*class)));
    Ok(canonical)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ok(kind: Kind, text: &str) -> String {
        kind.check(text, "").unwrap()
    }

    fn refused(kind: Kind, text: &str) -> String {
        kind.check(text, "").unwrap_err()
    }

    #[test]
    fn forms_are_canonical() {
        assert_eq!(ok(Kind::YesNo, "YES"), "yes");
        assert_eq!(ok(Kind::Memory(0, 1 << 40), "1KB"), "1024");
        assert_eq!(ok(Kind::MemoryOrPercent, "10%"), "10%");
        assert_eq!(ok(Kind::OneOf(&["everysec", "always"]), "EVERYSEC"), "everysec");
        assert_eq!(ok(Kind::AnyOf(&["default", "save", "nosave", "now", "force"]), "force nosave"), "nosave force");
        assert_eq!(ok(Kind::AnyOf(&["default", "save"]), "default save"), "save");
        assert_eq!(ok(Kind::Percentiles, "0.0 50.0 99.9"), "0 50 99.9");
        for (text, canonical) in
            [("KEA", "AKE"), ("g$lshzxet", "g$lshzxet"), ("mnKd", "dnKm"), ("Ed$KAmn", "AKEm"), ("mtegK", "getKm")]
        {
            assert_eq!(ok(Kind::Events, text), canonical, "{text}");
        }
        let before = "normal 0 0 0 slave 1 2 3 pubsub 4 5 6";
        let after = Kind::BufferLimits.check("replica 1mb 2 3 pubsub 1 1 1", before).unwrap();
        assert_eq!(after, "normal 0 0 0 slave 1048576 2 3 pubsub 1 1 1");
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_words_of_redis() {
        assert_eq!(refused(Kind::YesNo, "1"), "argument must be 'yes' or 'no'");
        assert_eq!(refused(Kind::Integer(0, 9), "10"), "argument must be between 0 and 9 inclusive");
        assert_eq!(refused(Kind::Integer(0, 9), "+1"), "argument couldn't be parsed into an integer");
        assert_eq!(refused(Kind::Memory(0, 9), "-1"), "argument must be a memory value");
        assert_eq!(refused(Kind::MemoryOrPercent, "200%"), "percentage argument must be less or equal to 100");
        assert_eq!(
            refused(Kind::AnyOf(&["default", "save"]), ""),
            "argument(s) must be one of the following: default, save"
        );
        for text in ["1 2 3", "0 5", "10 -1", "10 x", " 10  5 "] {
            assert_eq!(refused(Kind::SavePoints, text), "Invalid save parameters", "{text}");
        }
        assert!(refused(Kind::AnyOf(&["default", "save", "nosave"]), "save nosave").contains("simultaneously"));
        assert!(refused(Kind::Percentiles, "50 101").contains("between [0.0,100.0]"));
        assert!(refused(Kind::BufferLimits, "master 1 2 3").contains("client class"));
        assert!(refused(Kind::BufferLimits, "normal 1 2 -3").contains("soft_seconds"));
        assert!(refused(Kind::Listener, "70000").contains("65535"));
        assert!(refused(Kind::Listener, "70").starts_with("Unable to listen on this port"));
    }
}
