//! What changes users: ACL SETUSER, ACL DELUSER, requirepass.
//!
//! A change reads the record, computes the new one and writes it if the record still is what was read; else it begins
//! again. So of two gateways that change one user at once, both changes are in it.

use bytes::Bytes;
use commands::redis::Value;
use commands::redis::acl::record::Kept;
use commands::redis::acl::{DEFAULT_USER, User, is_valid_name, merge_selectors};
use keyspace::Registry;

use super::{Access, unreadable};

/// Changes of one user at once, beyond which somebody is told to try again.
const MAX_ATTEMPTS: usize = 64;

impl Access {
    /// ACL SETUSER: `rules` as the client has sent them.
    pub(super) async fn set_user(&self, name: &Bytes, rules: &[Bytes], all_channels: bool) -> Result<(), Value> {
        if !is_valid_name(name) {
            return Err(error("ERR Usernames can't contain spaces or null characters"));
        }
        let rules = merge_selectors(rules).map_err(|word| {
            let word = String::from_utf8_lossy(&word).into_owned();
            error(&format!("ERR Unmatched parenthesis in acl selector starting at '{word}'."))
        })?;
        self.change(name, all_channels, |user| {
            for rule in &rules {
                user.apply(rule, all_channels).map_err(|why| {
                    error(&format!("ERR Error in ACL SETUSER modifier '{}': {why}", String::from_utf8_lossy(rule)))
                })?;
            }
            Ok(())
        })
        .await
    }

    /// CONFIG SET requirepass
    pub(super) async fn require_password(&self, password: &[u8]) -> Result<(), Value> {
        let name = Bytes::from_static(DEFAULT_USER.as_bytes());
        self.change(&name, true, |user| {
            user.require_password(password);
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        name: &Bytes,
        all_channels: bool,
        change: impl Fn(&mut User) -> Result<(), Value>,
    ) -> Result<(), Value> {
        let mut seen = self.registries.get(Registry::Users, name).await.map_err(|error| unreadable(&error))?;
        for _ in 0..MAX_ATTEMPTS {
            let mut kept = match &seen {
                Some(record) => Kept::decode(record).map_err(|why| error(&format!("ERR {why}")))?,
                None if name == DEFAULT_USER => Kept { id: 0, user: self.first_default() },
                None => Kept { id: rand::random::<u64>().max(1), user: User::new(all_channels) },
            };
            change(&mut kept.user)?;
            let written = Some(kept.encode());
            let replaced = self.registries.replace(Registry::Users, name, seen.clone(), written).await;
            match replaced.map_err(|error| unreadable(&error))? {
                before if before == seen => return Ok(()),
                before => seen = before,
            }
        }
        Err(error("TRYAGAIN Others change this user. The command was not executed."))
    }

    /// ACL DELUSER: whether there was one.
    pub(super) async fn delete_user(&self, name: &Bytes) -> Result<bool, Value> {
        let before = self.registries.set(Registry::Users, name, None).await;
        before.map(|before| before.is_some()).map_err(|error| unreadable(&error))
    }
}

fn error(line: &str) -> Value {
    Value::Error(line.to_owned())
}
