//! Random command lines from templates: mostly sensible, on few keys so that they meet, sometimes of another type.
//!
//! In a template a word that begins with `$` is drawn from a pool of its own, `a|b` is one of the words, `[ … ]` is there or
//! not, and `{ … }` is there one to four times.

use bytes::Bytes;

use crate::Line;
use crate::generate::Generator;

/// Words that a template names, and what stands in their place.
const POOLS: &[(&str, &[&str])] = &[
    (
        "$field",
        &[
            "f1",
            "f2",
            "f3",
            "f4",
            "",
            "5",
            "a\0\u{e9}",
            "a field longer than the sixty-four bytes that a small hash would take",
        ],
    ),
    ("$member", &["a", "b", "c", "d", "e", "1", "2", "3", "-7", "007", "", "\0\r\n", "m10", "m11", "m12"]),
    ("$item", &["a", "b", "c", "d", "1", "2", "3", "-3", "0.5", "007", "m10", "\u{e9}"]),
    ("$value", &["v1", "v2", "v3", "", "0", "1", "10", "-3", "3.5", "x y", "9223372036854775807", "abc"]),
    ("$small", &["0", "1", "2", "3", "-1", "-2", "5", "100", "-100"]),
    (
        "$integer",
        &[
            "0",
            "1",
            "-1",
            "2",
            "-2",
            "3",
            "7",
            "-7",
            "100",
            "9223372036854775807",
            "-9223372036854775808",
            "x",
            "1.5",
            "",
        ],
    ),
    ("$float", &["0", "1.5", "-2.25", "0.1", "1e3", "inf", "nan", "x", "3", "1e400", "0x10"]),
    (
        "$score",
        &[
            "0", "1", "2", "3", "1.5", "-1", "0.1", "1e10", "-inf", "inf", "+5", "0", "1", "2", "nan", "x", "1e400",
            "-0",
        ],
    ),
    ("$bound", &["0", "1", "2", "(1", "(2", "-inf", "+inf", "inf", "1.5", "(-1", "3", "x", "", "(", "(inf"]),
    ("$name", &["-", "+", "[a", "(a", "[c", "(c", "[m10", "[", "(", "x", "[d", "-", "+"]),
    ("$weight", &["1", "2", "-1", "0.5", "inf", "x", "0"]),
    ("$hash", &["h1", "h2", "h3"]),
    ("$set", &["s1", "s2", "s3", "s4"]),
    ("$list", &["l1", "l2", "l3"]),
    ("$zset", &["z1", "z2", "z3"]),
    ("$lex", &["y1", "y2"]),
    ("$geo", &["g1", "g2"]),
    ("$spot", SPOTS),
    ("$lon", &["13.361389", "15.087269", "0", "-18.2", "13.5", "2.35", "40", "181", "x"]),
    ("$lat", &["38.115556", "37.502669", "0", "48.85", "-33.9", "38", "86", "x", "55"]),
    ("$far", &["0", "1", "10", "200", "500", "2000", "-1", "x"]),
    ("$sketch", &["p1", "p2", "p3"]),
    ("$bit", &["0", "1", "7", "8", "13", "30", "100", "-1", "x", "268435456"]),
    ("$type", &["u8", "i8", "u1", "i1", "i64", "u63", "u64", "u0", "i5", "u13", "x"]),
    ("$place", &["0", "1", "#1", "#3", "9", "33", "-1", "#-1", "x", "#", "268435456"]),
    ("$string", &["x1", "x2", "x3"]),
    ("$timeout", &["0", "0", "1", "0.5", "-1", "x", "1e400"]),
    ("$any", &["h1", "h2", "s1", "s2", "l1", "l2", "z1", "z2", "x1", "none"]),
];

/// Longitude, latitude and member: no two at one place, since the order of equal distances is open.
const SPOTS: &[&str] = &[
    "13.361389 38.115556 a",
    "15.087269 37.502669 b",
    "0 0 c",
    "-18.2 48.85 d",
    "13.5 -33.9 1",
    "2.35 48.9 2",
    "40 55 3",
    "13.4 38.2 m10",
    "13.37 38.12 a",
    "2.36 48.8 e",
    "181 0 m11",
    "x 1 m12",
];

/// Pools of keys. Not those of the sorted sets whose members have one score: names are in no order elsewhere.
const KEYS: [&str; 5] = ["$hash", "$set", "$list", "$zset", "$string"];

/// Commands on keys of any type.
pub const GENERIC: &[&str] = &[
    "type $any",
    "exists $any $any",
    "del $any",
    "unlink $any",
    "rename $any $any",
    "renamenx $any $any",
    "copy $any $any [ replace ]",
    "set $any $value",
    "get $any",
    "getset $any $value",
    "set $any $value get",
    "mget $any $any",
    "object encoding $hash|$set|$list|$zset|$any",
    "object refcount $hash|$set|none",
    "pexpireat $any 4102444800000",
    "pexpireat $any 1",
    "persist $any",
    "pexpiretime $any",
    "move $any 1|1|0|x|16|-1",
    "memory usage $any|none [ samples $small ] [ huh ]",
    "restore $any|none $small payload [ replace|absttl|huh ] [ idletime|freq $small ]",
    "strlen $any",
    "append $string $value",
];

/// SORT. Lists keep equal elements in their order in both; what sets do is open. No number is too large: Redis forgets to
/// forget that one was, and refuses the next SORT. No zero bytes: there, Redis stops comparing.
pub const SORTS: &[&str] = &[
    "rpush l8|l9 { $weight }",
    "rpush l8|l9 { $value }",
    "sadd s8|s9 { $item }",
    "zadd z8|z9 { $weight $item }",
    "set w_1|w_2|w_3|w_a|w_b|w_-3|w_0.5 $value",
    "set w_1|w_2|w_3|w_a|w_b|w_0 $weight",
    "hset o_1|o_2|o_3|o_a|o_b { $field $weight }",
    "hset o_1|o_2|o_3|o_a|o_b { $field $value }",
    "del l8|l9|s8|s9|z8|z9|w_1|w_2|o_1|o_2",
    "sort|sort_ro l8|l9|z8|z9|o_1|w_1 [ limit $small $small ] [ asc|desc ] [ alpha ]",
    "sort l8|l9|z8|z9 by nosort|#|x->f1 [ limit $small $small ] [ asc|desc ]",
    "sort|sort_ro l8|l9 by w_*|o_*->f1|o_*->f2|*|w_*-> [ desc ] [ limit $small $small ]",
    "sort|sort_ro l8|l9 alpha by w_*|o_*->f1|o_*->f2|*|w_*-> [ desc ]",
    "sort l8|l9|z8|z9 by nosort { get #|w_*|o_*->f1|*|x|o_*-> } [ limit $small $small ]",
    "sort l8|l9|z8|z9 alpha { get #|w_*|o_*->f1|x } [ store l8|l9|o_a ]",
    "sort s8|s9 alpha [ desc ] [ limit $small $small ] [ get #|w_* ]",
    "sort s8|s9 by w_*|o_*->f1|o_*->f3 [ limit $small $small ] [ get #|w_* ]",
    "sort s8|s9 by nosort store l8|l9 [ limit $small $small ]",
    "sort l8|l9|none alpha [ by w_* ] store l8|l9|o_a [ store l8|l9 ]",
    "sort s8|s9|z8|z9 alpha store l8|l9|o_a",
    "sort l8|l9 by w_* by x get # [ desc ]",
    "sort|sort_ro l8|s8|z8|o_1|none limit 0|x $integer|1",
    "sort l8|l9|z8|z9|none store|by|get|limit|huh [ 1 ]",
    "sort_ro l8|s8|z8|o_1|none store|limit|huh [ 1 ]",
    "lrange l8|l9 0 -1",
];

/// Hashes.
pub const HASHES: &[&str] = &[
    "hset $hash { $field $value }",
    "hset $hash { $field $value }",
    "hset $hash $field",
    "hmset $hash { $field $value }",
    "hsetnx $hash $field $value",
    "hget $hash $field",
    "hmget $hash { $field }",
    "hgetall $hash",
    "hdel $hash { $field }",
    "hexists $hash $field",
    "hlen $hash",
    "hkeys $hash",
    "hvals $hash",
    "hstrlen $hash $field",
    "hincrby $hash $field $integer",
    "hincrbyfloat $hash $field $float",
    "hrandfield $hash",
    "hrandfield $hash 100|-5|0|x|-9223372036854775808 [ withvalues|huh ]",
    "hscan $hash 0|x [ match f* ] count 1000|0|x",
];

/// Sets.
pub const SETS: &[&str] = &[
    "sadd $set { $member }",
    "sadd $set { $member }",
    "srem $set { $member }",
    "scard $set",
    "sismember $set $member",
    "smismember $set { $member }",
    "smembers $set",
    "smove $set $set $member",
    "spop $set 1000|0|-1|x",
    "srandmember $set",
    "srandmember $set 1000|0|-4|x [ extra ]",
    "sinter { $set }",
    "sunion { $set }",
    "sdiff { $set }",
    "sinterstore $set|$any { $set }",
    "sunionstore $set|$any { $set }",
    "sdiffstore $set|$any { $set }",
    "sintercard 1|2|3|0|x|9 { $set } [ limit $small ]",
    "sscan $set 0|x [ match ?|m* ] count 1000 [ huh 1 ]",
];

/// Lists.
pub const LISTS: &[&str] = &[
    "rpush $list { $value }",
    "rpush $list { $value }",
    "lpush $list { $value }",
    "lpush $list { $value }",
    "lpushx $list { $value }",
    "rpushx $list { $value }",
    "lpop $list [ $small ]",
    "rpop $list [ $small ]",
    "lpop $list 1 2",
    "llen $list",
    "lindex $list $integer",
    "linsert $list before|after|huh $value $value",
    "linsert $list before|after $value $value",
    "lrange $list $small $small",
    "lrange $list 0 -1",
    "lrem $list $small $value",
    "lset $list $integer $value",
    "ltrim $list $small $small",
    "lpos $list $value [ rank $small ] [ count $small ] [ maxlen $small ]",
    "lpos $list $value rank 0|x|2|-2",
    "lmove $list $list left|right|huh left|right",
    "rpoplpush $list $list",
    "lmpop 1|2|0|x $list $list left|right|huh [ count $small ]",
    "lmpop 1|2 $list left|right [ count 2 ]",
    "blpop|brpop { $list } $timeout",
    "blmove $list $list left|right|huh left|right $timeout",
    "brpoplpush $list $list|$any $timeout",
    "blmpop $timeout 1|2|0|x $list $list left|right|huh [ count $small ]",
];

/// Sorted sets.
pub const SORTED_SETS: &[&str] = &[
    "zadd $zset { $score $member }",
    "zadd $zset { $score $member }",
    "zadd $zset { $score $member }",
    "zadd $zset [ nx|xx ] [ gt|lt ] [ ch ] [ incr ] { $score $member }",
    "zadd $zset incr|ch|nx $score $member",
    "zincrby $zset $score $member",
    "zrem $zset { $member }",
    "zcard $zset",
    "zscore $zset $member",
    "zmscore $zset { $member }",
    "zrank|zrevrank $zset $member",
    "zcount $zset $bound $bound",
    "zrange $zset $small $small [ withscores ]",
    "zrange $zset $bound $bound byscore [ rev ] [ limit $small $small ] [ withscores ]",
    "zrange $zset $small $small [ rev ] [ limit 0 -1|1 ] [ withscores ]",
    "zrange $lex $name $name bylex|BYLEX withscores",
    "zrangebyscore|zrevrangebyscore $zset $bound $bound [ withscores ] [ limit $small $small ]",
    "zrevrange $zset $small $small [ withscores|byscore ]",
    "zrangestore $zset|$any $zset $bound $bound byscore [ rev ] [ limit $small $small ]",
    "zrangestore $zset $zset $small $small [ rev ] [ withscores ]",
    "zremrangebyrank $zset $small $small",
    "zremrangebyscore $zset $bound $bound",
    "zpopmin|zpopmax $zset [ $small ]",
    "zpopmin|zpopmax $zset 1 [ 2 ]",
    "zmpop 1|2|0|x $zset $zset min|max|huh [ count $small ]",
    "zmpop 1 $zset min|max [ count 2 ]",
    "bzpopmin|bzpopmax { $zset } $timeout",
    "bzmpop $timeout 1|2|0|x $zset $zset min|max|huh [ count $small ]",
    "zunion|zinter 1|2|3|0|x $zset $zset|$set [ weights $weight $weight ] [ aggregate sum|min|max|huh ] [ withscores ]",
    "zunion|zinter 2 $zset $zset|$set [ weights $weight $weight ] [ aggregate min|max ] [ withscores ]",
    "zdiff 1|2 $zset $zset|$set [ withscores ]",
    "zunionstore|zinterstore $zset|$any 2|1|0 $zset $zset|$set [ weights $weight $weight ] [ aggregate sum|min|max ]",
    "zdiffstore $zset 2 $zset $zset|$set [ weights 1 1 ]",
    "zintercard 2|1|0 $zset $zset|$set [ limit $small ]",
    "zrandmember $zset",
    "zrandmember $zset 100|-5|0|x [ withscores ]",
    "zscan $zset 0|x [ match ? ] count 1000",
    "zadd $lex { 0 $member }",
    "zadd $lex { 0 $member }",
    "zrangebylex|zrevrangebylex $lex $name $name [ limit $small $small ]",
    "zrange $lex $name $name bylex [ rev ] [ limit $small $small ]",
    "zlexcount $lex $name $name",
    "zremrangebylex $lex $name $name",
    "zrem $lex { $member }",
];

/// Places: not at the date line, where Redis finds only those on the same side.
pub const PLACES: &[&str] = &[
    "geoadd $geo [ nx|xx ] [ ch ] { $spot }",
    "geoadd $geo { $spot }",
    "geoadd $geo { $spot }",
    "geopos $geo { $member }",
    "geohash $geo { $member }",
    "geodist $geo $member $member [ m|km|ft|mi|huh ]",
    "geosearch $geo frommember|huh $member byradius $far m|km|mi asc|desc [ withdist ] [ withcoord ] [ withhash ]",
    "geosearch $geo fromlonlat $lon $lat byradius $far km|ft asc [ count $small ]",
    "geosearch $geo fromlonlat $lon $lat byradius $far km|ft asc count 100 any",
    "geosearch $geo fromlonlat $lon $lat bybox $far $far km|m asc|desc [ withdist ] [ count 2 ]",
    "geosearch $geo fromlonlat 13 38 frommember a byradius 10 km asc",
    "geosearch $geo byradius 10 km asc",
    "geosearch $geo fromlonlat 13 38 asc [ any ]",
    "geosearchstore $geo $geo fromlonlat $lon $lat byradius $far km asc [ count 2 ] [ storedist ] [ withdist ]",
    "georadius $geo $lon $lat $far km|m asc|desc [ withdist ] [ withcoord ] [ count $small ]",
    "georadius $geo $lon $lat $far km asc [ store $geo ] [ storedist $geo ]",
    "georadius_ro $geo $lon $lat $far km asc [ store $geo ]",
    "georadiusbymember|georadiusbymember_ro $geo $member $far km asc|desc [ count 2 ]",
    "zrange $geo 0 -1 withscores",
    "zrem $geo $member",
];

/// Strings as bits.
pub const BITMAPS: &[&str] = &[
    "setbit $string $bit 0|1|1|2|x",
    "setbit $string $bit 1",
    "getbit $string $bit",
    "bitcount $string",
    "bitcount $string $small $small [ bit|byte|huh ]",
    "bitpos $string 0|1|2|x [ $small ]",
    "bitpos $string 0|1 $small $small [ bit|byte|huh ]",
    "bitop and|or|xor|not|huh $string $string",
    "bitop and|or|xor $string $string { $string }",
    "bitfield $string { get $type $place }",
    "bitfield $string set $type $place $integer",
    "bitfield $string { incrby $type $place $integer }",
    "bitfield $string overflow sat|fail|wrap|huh set $type $place 100|-100|70000|-70000|x incrby $type $place 1|-1|70000|-70000",
    "bitfield $string overflow sat|fail incrby u8|i8|u2|i64|u63 $place 100|-100|9223372036854775807|-9223372036854775808",
    "bitfield_ro $string get $type $place [ set u8 0 1 ]",
    "setrange $string $small $value",
    "get $string",
];

/// Sketches.
pub const HYPERLOGLOGS: &[&str] = &[
    "pfadd $sketch { $member }",
    "pfadd $sketch { $value }",
    "pfadd $sketch",
    "pfcount $sketch [ $sketch ] [ $any ]",
    "pfmerge $sketch { $sketch }",
    "set $sketch HYLL",
    "del $sketch",
    "strlen $sketch",
];

/// Longest common subsequences.
pub const STRINGS: &[&str] =
    &["lcs $string $any [ len ] [ idx ] [ minmatchlen $small ] [ withmatchlen ] [ huh ]", "append $string $value"];

impl Generator {
    /// A command line of one of the templates.
    pub fn fill(&mut self, templates: &[&str]) -> Line {
        let template = templates[self.below(templates.len())];
        let words: Vec<&str> = template.split_ascii_whitespace().collect();
        let mut line = Vec::new();
        self.fill_words(&words, &mut line);
        // Without its last word a SPOP would choose, a scan have pages, and a search of places no order.
        let needs_all = ["spop", "hscan", "sscan", "zscan", "geosearch", "geosearchstore"].contains(&words[0]);
        if self.one_in(50) && !needs_all && !words[0].starts_with("georadius") {
            line.pop();
        }
        if self.one_in(100) {
            line.push(Bytes::from("extra"));
        }
        if line.is_empty() { vec![Bytes::from("ping_")] } else { line }
    }

    fn fill_words(&mut self, mut words: &[&str], line: &mut Line) {
        while let [word, rest @ ..] = words {
            words = rest;
            let times = match *word {
                "[" => self.below(2),
                "{" => 1 + self.below(4),
                word => {
                    let word = self.one_of(word);
                    let drawn = self.draw(word);
                    match word {
                        "$spot" => line.extend(drawn.split(|byte| *byte == b' ').map(Bytes::copy_from_slice)),
                        _ => line.push(drawn),
                    }
                    continue;
                }
            };
            let mut open = 1;
            let closes = |word: &&str| {
                open += i32::from(matches!(*word, "[" | "{")) - i32::from(matches!(*word, "]" | "}"));
                open == 0
            };
            let end = words.iter().position(closes).expect("brackets are closed");
            (0..times).for_each(|_| self.fill_words(&words[..end], line));
            words = &words[end + 1..];
        }
    }

    fn one_of<'a>(&mut self, word: &'a str) -> &'a str {
        let words: Vec<&str> = word.split('|').collect();
        words[self.below(words.len())]
    }

    fn draw(&mut self, word: &str) -> Bytes {
        // Now and then a key of another type.
        let word = if KEYS.contains(&word) && self.one_in(20) { "$any" } else { word };
        let chosen = match POOLS.iter().find(|(name, _)| *name == word) {
            Some((_, pool)) => pool[self.below(pool.len())],
            None => word,
        };
        Bytes::copy_from_slice(chosen.as_bytes())
    }
}
