//! Whether a user may run a command line.

use bytes::Bytes;

use super::super::describe::access_of;
use super::super::table::{Begin, Flag, KeySpec, Place, PubSubCommand, Spec, counts_its_keys};
use super::commands::INDEX;
use super::selector::{ChannelPattern, KeyPattern};
use super::{Selector, User};

/// What of a command line is not allowed: the last argument, of all selectors that allow the command, that one refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// The key at this index.
    Key(usize),
    /// The channel at this index.
    Channel(usize),
}

impl Denied {
    /// The error line of a command.
    pub fn line(self, spec: &Spec) -> String {
        match self {
            Denied::Command => format!("NOPERM this user has no permissions to run the '{}' command", spec.name),
            Denied::Key(_) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned()
            }
            Denied::Channel(_) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned()
            }
        }
    }

    /// The error line of a command that was queued when it was still allowed.
    pub fn line_at_exec(self) -> String {
        let reason = match self {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments to the command",
        };
        format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        )
    }

    /// What a script is told, without the name of the script.
    pub fn line_in_script(self) -> &'static str {
        match self {
            Denied::Command => "The user executing the script can't run this command or subcommand",
            Denied::Key(_) => {
                "The user executing the script can't access at least one of the keys mentioned in the command arguments"
            }
            Denied::Channel(_) => "The user executing the script can't publish to the channel mentioned in the command",
        }
    }

    /// The word of ACL LOG.
    pub fn reason(self) -> &'static str {
        match self {
            Denied::Command => "command",
            Denied::Key(_) => "key",
            Denied::Channel(_) => "channel",
        }
    }

    /// What ACL LOG says was asked for.
    pub fn object(self, spec: &Spec, args: &[Bytes]) -> Bytes {
        match self {
            Denied::Command => Bytes::from_static(spec.name.as_bytes()),
            Denied::Key(at) | Denied::Channel(at) => args.get(at).cloned().unwrap_or_default(),
        }
    }
}

/// The keys of a command line, with what happens to them. Lines that their command refuses for their number of keys have
/// none here.
struct Keys(Vec<(usize, Access)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    reads: bool,
    writes: bool,
}

impl Access {
    fn of(words: &[&str]) -> Self {
        let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
        Self { reads: has(&["access"]), writes: has(&["insert", "delete", "update"]) }
    }
}

impl Keys {
    fn of(spec: &Spec, args: &[Bytes]) -> Self {
        if spec.name == "migrate" {
            return Self(migrated(args).map(|at| (at, Access { reads: true, writes: true })).collect());
        }
        if !counts_its_keys(spec, args) {
            return Self(Vec::new());
        }
        let mut keys = Vec::new();
        for own in spec.keys.iter().filter(|keys| keys.access != ["not_key"]) {
            let access = Access::of(access_of(spec, own, args));
            keys.extend(indexes(own, args).into_iter().map(|at| (at, access)));
        }
        Self(keys)
    }
}

/// As the table has them; of options that were given twice both: the command decides which one counts.
fn indexes(keys: &KeySpec, args: &[Bytes]) -> Vec<usize> {
    match keys.begin {
        Begin::Behind { word, from } => {
            let behind = |at: &usize| args[at - 1].eq_ignore_ascii_case(word.as_bytes());
            (from + 1..args.len()).filter(behind).collect()
        }
        _ => keys.indexes(args).collect(),
    }
}

/// Keys of MIGRATE, which the table does not tell: nobody can run it, but ACL DRYRUN asks.
fn migrated(args: &[Bytes]) -> std::ops::Range<usize> {
    let mut at = 6;
    while let Some(word) = args.get(at) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        at += match () {
            () if is("keys") && args[3].is_empty() => return at + 1..args.len(),
            () if is("keys") => return 0..0,
            () if is("auth") => 2,
            () if is("auth2") => 3,
            () => 1,
        };
    }
    3..4
}

/// The channels that a command line speaks to or listens to, and whether they are patterns.
fn channels(spec: &Spec, args: &[Bytes]) -> (std::ops::Range<usize>, bool) {
    match spec.place {
        Place::PubSub(PubSubCommand::Publish | PubSubCommand::SPublish) => (1..2, false),
        Place::PubSub(PubSubCommand::Subscribe | PubSubCommand::SSubscribe) => (1..args.len(), false),
        Place::PubSub(PubSubCommand::PSubscribe) => (1..args.len(), true),
        _ => (0..0, false),
    }
}

impl User {
    /// Whether this user may run a command line, whose number of arguments is right.
    pub fn check(&self, spec: &Spec, args: &[Bytes]) -> Result<(), Denied> {
        if self.may_do_everything() {
            return Ok(());
        }
        let keys = Keys::of(spec, args);
        let mut denied = Denied::Command;
        for selector in &self.selectors {
            match selector.check(spec, args, &keys) {
                Ok(()) => return Ok(()),
                Err(other) => denied = denied.max(other),
            }
        }
        Err(denied)
    }

    /// Whether this user may listen to a channel, or to a pattern.
    pub fn may_listen(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.allows_channel(channel, is_pattern))
    }

    /// Whether every channel that `before` has been allowed by name still is.
    pub fn keeps_channels_of(&self, before: &User) -> bool {
        if self.selectors.iter().any(|selector| selector.channels.is_none()) {
            return true;
        }
        let own: Vec<&Bytes> =
            self.selectors.iter().flat_map(|own| own.channels.iter().flatten()).map(|own| &own.text).collect();
        before.selectors.iter().all(|before| match &before.channels {
            None => false,
            Some(channels) => channels.iter().all(|channels| own.contains(&&channels.text)),
        })
    }

    /// Whether one selector allows this command line and reading of all keys.
    fn reads_all_keys(&self, spec: &Spec, args: &[Bytes]) -> bool {
        let keys = Keys::of(spec, args);
        let all = |keys: &KeyPattern| keys.text == "*" && keys.reads;
        self.selectors.iter().any(|selector| {
            selector.check(spec, args, &keys).is_ok() && selector.keys.as_ref().is_none_or(|keys| keys.iter().any(all))
        })
    }
}

impl Selector {
    fn check(&self, spec: &Spec, args: &[Bytes], keys: &Keys) -> Result<(), Denied> {
        if !spec.has(Flag::NoAuth) && !self.allows_command(spec, args) {
            return Err(Denied::Command);
        }
        if let Some(refused) = keys.0.iter().find(|(at, access)| !self.allows_key(&args[*at], *access)) {
            return Err(Denied::Key(refused.0));
        }
        let (mut channels, are_patterns) = channels(spec, args);
        match channels.find(|at| !self.allows_channel(&args[*at], are_patterns)) {
            Some(at) => Err(Denied::Channel(at)),
            None => Ok(()),
        }
    }

    fn allows_command(&self, spec: &Spec, args: &[Bytes]) -> bool {
        let Some(number) = INDEX.number(spec) else { return false };
        let first_argument = || {
            let allowed = self.first_arguments.get(&number)?;
            let given = args.get(1)?;
            Some(allowed.iter().any(|argument| argument.eq_ignore_ascii_case(given)))
        };
        self.commands.has(number) || first_argument().unwrap_or(false)
    }

    fn allows_key(&self, key: &[u8], access: Access) -> bool {
        let allows = |keys: &KeyPattern| {
            (keys.reads || !access.reads) && (keys.writes || !access.writes) && keys.pattern.matches(key)
        };
        self.keys.as_ref().is_none_or(|keys| keys.iter().any(allows))
    }

    /// A pattern must be the very same.
    fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let allows = |channels: &ChannelPattern| match is_pattern {
            true => channels.text == channel,
            false => channels.pattern.matches(channel),
        };
        self.channels.as_ref().is_none_or(|channels| channels.iter().any(allows))
    }
}

/// SORT with BY or GET reads keys that it does not name: only for those who may read all. The error line.
pub fn sort_denied(user: &User, spec: &Spec, args: &[Bytes]) -> Option<&'static str> {
    if !matches!(spec.name, "sort" | "sort_ro") || user.may_do_everything() {
        return None;
    }
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let option = args.get(at + 1);
        at += match option {
            Some(pattern) if is("by") && pattern.contains(&b'*') && !user.reads_all_keys(spec, args) => {
                return Some("ERR BY option of SORT denied due to insufficient ACL permissions.");
            }
            Some(_) if is("get") && !user.reads_all_keys(spec, args) => {
                return Some("ERR GET option of SORT denied due to insufficient ACL permissions.");
            }
            Some(_) if is("by") || is("get") || is("store") => 2,
            Some(_) if is("limit") => 3,
            _ if is("asc") || is("desc") || is("alpha") => 1,
            // A syntax error, which the command itself will find.
            _ => return None,
        };
    }
    None
}
