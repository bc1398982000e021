//! One set of permissions: commands, key patterns, channel patterns.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::glob::Pattern;
use super::RuleError;
use super::commands::{CommandSet, INDEX, category};

/// What of a user's permissions goes together: it allows a command line only as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub(super) commands: CommandSet,
    /// First arguments with which a command is allowed that else is not, as they were given. Only of such commands.
    pub(super) first_arguments: BTreeMap<usize, Vec<Bytes>>,
    /// `None`: all keys.
    pub(super) keys: Option<Vec<KeyPattern>>,
    /// `None`: all channels.
    pub(super) channels: Option<Vec<ChannelPattern>>,
}

/// Keys, and what may be done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPattern {
    pub(super) text: Bytes,
    pub(super) pattern: Pattern,
    pub(super) reads: bool,
    pub(super) writes: bool,
}

/// Channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelPattern {
    pub(super) text: Bytes,
    pub(super) pattern: Pattern,
}

impl Selector {
    /// Allows nothing; all channels if the server has it so.
    pub fn new(all_channels: bool) -> Self {
        Self {
            commands: CommandSet::NONE,
            first_arguments: BTreeMap::new(),
            keys: Some(Vec::new()),
            channels: if all_channels { None } else { Some(Vec::new()) },
        }
    }

    /// Takes one rule about commands, keys or channels.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match () {
            () if is("allkeys") || is("~*") => self.keys = None,
            () if is("resetkeys") => self.keys = Some(Vec::new()),
            () if is("allchannels") || is("&*") => self.channels = None,
            () if is("resetchannels") => self.channels = Some(Vec::new()),
            () if is("allcommands") || is("+@all") => self.set_all(CommandSet::ALL),
            () if is("nocommands") || is("-@all") => self.set_all(CommandSet::NONE),
            () => return self.apply_prefixed(rule),
        }
        Ok(())
    }

    fn apply_prefixed(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, true, true),
            [b'%', rest @ ..] => {
                let (pattern, reads, writes) = key_permissions(rest)?;
                self.add_keys(pattern, reads, writes)
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                let category = category(name).ok_or(RuleError::Unknown)?;
                self.set_category(category, *sign == b'+');
                Ok(())
            }
            [b'-', name @ ..] => {
                self.set_command(INDEX.find(name).ok_or(RuleError::Unknown)?, false);
                Ok(())
            }
            [b'+', name @ ..] => self.allow(name),
            _ => Err(RuleError::Syntax),
        }
    }

    fn set_all(&mut self, commands: CommandSet) {
        self.commands = commands;
        self.first_arguments.clear();
    }

    pub(super) fn set_command(&mut self, number: usize, allowed: bool) {
        self.commands.set_command(number, allowed);
        self.first_arguments.remove(&number);
    }

    pub(super) fn set_category(&mut self, category: usize, allowed: bool) {
        for number in 0..INDEX.specs.len() {
            if INDEX.is_in(number, category) {
                self.set_command(number, allowed);
            }
        }
    }

    /// `+name`, `+container|subcommand` or `+name|argument`.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            self.set_command(INDEX.find(name).ok_or(RuleError::Unknown)?, true);
            return Ok(());
        };
        let (command, argument) = (&name[..bar], &name[bar + 1..]);
        let number = INDEX.find(command).ok_or(RuleError::Unknown)?;
        let spec = INDEX.specs[number];
        if spec.name.contains('|') {
            return Err(RuleError::FirstArgument);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !spec.subcommands.is_empty() {
            self.set_command(INDEX.find(name).ok_or(RuleError::Unknown)?, true);
            return Ok(());
        }
        if !self.commands.has(number) {
            let arguments = self.first_arguments.entry(number).or_default();
            if !arguments.iter().any(|other| other.eq_ignore_ascii_case(argument)) {
                arguments.push(Bytes::copy_from_slice(argument));
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, text: &[u8], reads: bool, writes: bool) -> Result<(), RuleError> {
        let keys = self.keys.as_mut().ok_or(RuleError::AllKeys)?;
        if has_spaces(text) {
            return Err(RuleError::Syntax);
        }
        if let Some(same) = keys.iter_mut().find(|keys| keys.text == text) {
            same.reads |= reads;
            same.writes |= writes;
        } else {
            keys.push(KeyPattern { text: Bytes::copy_from_slice(text), pattern: Pattern::new(text), reads, writes });
        }
        Ok(())
    }

    fn add_channels(&mut self, text: &[u8]) -> Result<(), RuleError> {
        let channels = self.channels.as_mut().ok_or(RuleError::AllChannels)?;
        if has_spaces(text) {
            return Err(RuleError::Syntax);
        }
        if !channels.iter().any(|channels| channels.text == text) {
            channels.push(ChannelPattern { text: Bytes::copy_from_slice(text), pattern: Pattern::new(text) });
        }
        Ok(())
    }

    /// Whether it allows everything, commands that are still to come too.
    pub(super) fn allows_everything(&self) -> bool {
        self.commands == CommandSet::ALL && self.keys.is_none() && self.channels.is_none()
    }
}

/// Behind `%`: `R`, `W` or both, and a pattern behind `~`.
fn key_permissions(rule: &[u8]) -> Result<(&[u8], bool, bool), RuleError> {
    let (mut reads, mut writes) = (false, false);
    for (at, byte) in rule.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !reads => reads = true,
            b'W' if !writes => writes = true,
            b'~' if reads || writes => return Ok((&rule[at + 1..], reads, writes)),
            _ => return Err(RuleError::Syntax),
        }
    }
    // Redis takes it for the empty pattern if there is no tilde.
    if reads || writes { Ok((&[], reads, writes)) } else { Err(RuleError::Syntax) }
}

/// Whether a name or a pattern has what would cut it in two when it is shown.
pub(super) fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0))
}
