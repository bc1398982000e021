//! Who a connection is, and whether it may do what it asks for.
//!
//! Users are kept in the registry ([`Registry::Users`]), where all gateways find them; passwords as SHA-256 only. A
//! gateway reads all of them every [`REFRESH`], and right behind a change of its own. No command is served with
//! permissions that may be older than [`MAX_AGE`]: when the registry cannot be read for so long, commands wait until it
//! can, at most [`PATIENCE`], and are then refused. That bound is longer than a group needs for another leader.
//!
//! Where nobody has made a user, the default user may do everything; a look at one number tells so to every command.
//!
//! - [`change`] has what changes users, by compare-and-set: two gateways never lose each other's rules.
//! - [`answer`] has ACL, [`log`] what ACL LOG shows, [`throttle`] slows down those who guess passwords.
//!
//! Left out: DynamoDB and gRPC, which have no users.

pub(super) mod answer;
mod change;
mod log;
mod throttle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use commands::redis::acl::record::Kept;
use commands::redis::acl::{DEFAULT_USER, User, sort_denied};
use commands::redis::table::{ConfigCommand, Flag};
use commands::redis::{GatewayCommand, Spec, Value};
use keyspace::Registry;
use tokio::sync::watch;

use self::log::AclLog;
pub(super) use self::log::Context;
use self::throttle::Throttle;
use super::clients::{Client, Clients};
use super::{Parameters, refusal};
use crate::registry::Registries;
use crate::router::{Router, RouterError};

/// How often users are read.
const REFRESH: Duration = Duration::from_millis(250);
/// Permissions older than this serve nobody.
const MAX_AGE: Duration = Duration::from_secs(5);
/// How long a command waits for permissions that are young enough, from when they were too old.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt to read them takes at most.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A user as this gateway knows it.
#[derive(Debug)]
struct Known {
    /// Tells it from an earlier one of its name; 0: the default user, of which there is only one.
    id: u64,
    user: User,
    may_do_everything: bool,
}

impl Known {
    fn new(id: u64, user: User) -> Arc<Self> {
        Arc::new(Self { id, may_do_everything: user.may_do_everything(), user })
    }
}

/// By name; with the default user as soon as they have been read.
type Users = BTreeMap<Bytes, Arc<Known>>;

/// Who a connection is.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    /// `None` before its first command: then it is the default user of that moment.
    who: Option<Who>,
}

#[derive(Clone, Debug)]
struct Who {
    name: Bytes,
    known: Arc<Known>,
    /// Needs no password, or has given it.
    authenticated: bool,
    /// Of the users among whom it was looked up.
    generation: u64,
}

impl Identity {
    /// The name of its user.
    pub(super) fn name(&self) -> Bytes {
        self.who.as_ref().map_or(Bytes::from_static(DEFAULT_USER.as_bytes()), |who| who.name.clone())
    }

    /// RESET: the default user again.
    pub(super) fn forget(&mut self, client: &Client) {
        self.who = None;
        client.names.lock().user = None;
    }

    /// Whether it has said who it is, or need not.
    pub(super) fn is_authenticated(&self) -> bool {
        self.who.as_ref().is_some_and(|who| who.authenticated)
    }
}

/// Users and permissions of a gateway.
pub(super) struct Access {
    router: Router,
    registries: Registries,
    /// Of the default user while the registry has none; empty: none is needed.
    requirepass: Bytes,
    users: ArcSwap<Users>,
    /// Grows with every change of the users. Looked at with every command.
    generation: AtomicU64,
    started: Instant,
    /// Milliseconds after `started` until which the users may be gone by; grows.
    fresh_until: watch::Sender<u64>,
    fresh_until_ms: AtomicU64,
    /// One reader at a time, so that what is younger is never overwritten.
    refreshing: tokio::sync::Mutex<()>,
    log: AclLog,
    pub(super) throttle: Throttle,
}

impl Access {
    /// Knows nobody yet.
    pub(super) fn new(router: Router, requirepass: Bytes) -> Self {
        Self {
            registries: Registries::new(router.clone()),
            router,
            requirepass,
            users: ArcSwap::default(),
            generation: AtomicU64::new(0),
            started: Instant::now(),
            fresh_until: watch::Sender::new(0),
            fresh_until_ms: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::default(),
            log: AclLog::default(),
            throttle: Throttle::default(),
        }
    }

    /// Reads the users again and again, for ever.
    pub(super) async fn follow(&self, clients: &Clients) {
        self.router.wait_ready().await;
        loop {
            match tokio::time::timeout(ATTEMPT, self.refresh(clients, None)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the users of Redis cannot be read"),
                Err(_) => tracing::warn!("the users of Redis cannot be read in time"),
            }
            tokio::time::sleep(REFRESH).await;
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Whether the users may be gone by.
    pub(super) fn is_fresh(&self) -> bool {
        self.now_ms() < self.fresh_until_ms.load(Ordering::Acquire)
    }

    /// Waits until they may be; false: they could not be read for too long.
    pub(super) async fn wait_fresh(&self) -> bool {
        let mut fresh = self.fresh_until.subscribe();
        let give_up = Duration::from_millis(*fresh.borrow()) + PATIENCE;
        let left = give_up.saturating_sub(self.started.elapsed());
        let waited = tokio::time::timeout(left, fresh.wait_for(|until| self.now_ms() < *until)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// What is said then.
    pub(super) fn too_old() -> Value {
        Value::Error("TRYAGAIN The users of this cluster cannot be read now. The command was not executed.".to_owned())
    }

    /// Reads the users; ends the connections of those who are none any more, and of subscribers who may not listen any
    /// more. Whether `me` is one of them, whose connection is left to whoever asks.
    pub(super) async fn refresh(&self, clients: &Clients, me: Option<u64>) -> Result<bool, RouterError> {
        let _alone = self.refreshing.lock().await;
        let began = self.now_ms();
        let records = self.registries.list(Registry::Users).await?;
        let users = self.understand(records);
        let before = self.users.load_full();
        let changed = before.len() != users.len()
            || users.iter().any(|(name, known)| {
                before.get(name).is_none_or(|other| other.user != known.user || other.id != known.id)
            });
        let mut ends = false;
        if changed {
            self.users.store(Arc::new(users));
            self.generation.fetch_add(1, Ordering::Release);
            ends = self.end_connections(&before, clients, me);
        }
        let until = began + MAX_AGE.as_millis() as u64;
        self.fresh_until_ms.store(until, Ordering::Release);
        self.fresh_until.send_replace(until);
        Ok(ends)
    }

    fn understand(&self, records: Vec<(Bytes, Bytes)>) -> Users {
        let mut users: Users = records
            .into_iter()
            .map(|(name, record)| {
                let kept = Kept::decode(&record).unwrap_or_else(|error| {
                    // Nobody can be this user, and it may do nothing.
                    tracing::error!(%error, "a user of Redis cannot be read");
                    Kept { id: 0, user: User::new(false) }
                });
                (name, Known::new(kept.id, kept.user))
            })
            .collect();
        let name = Bytes::from_static(DEFAULT_USER.as_bytes());
        users.entry(name).or_insert_with(|| Known::new(0, self.first_default()));
        users
    }

    /// The default user where nobody has said anything of it.
    fn first_default(&self) -> User {
        User::unrestricted((!self.requirepass.is_empty()).then_some(&self.requirepass[..]))
    }

    fn end_connections(&self, before: &Users, clients: &Clients, me: Option<u64>) -> bool {
        let users = self.users.load();
        let mut ends_me = false;
        for client in clients.all() {
            let user = client.names.lock().user.clone();
            let (name, id) = user.unwrap_or_else(|| (Bytes::from_static(DEFAULT_USER.as_bytes()), 0));
            let ends = match (users.get(&name), before.get(&name)) {
                (Some(now), Some(before)) if now.id == id => {
                    !now.user.keeps_channels_of(&before.user) && client.subscriptions.lock().exceed(&now.user)
                }
                (Some(now), None) => now.id != id,
                _ => true,
            };
            match ends {
                true if me == Some(client.id) => ends_me = true,
                true => {
                    clients.remove(client.id);
                    client.mailbox.cut_off();
                }
                false => {}
            }
        }
        ends_me
    }

    /// Whether there is a user of this name.
    pub(super) fn knows(&self, name: &[u8]) -> bool {
        self.users.load().contains_key(name)
    }

    /// The user of a connection as it is now; `None`: it is no more.
    fn renew<'a>(&self, identity: &'a mut Identity) -> Option<&'a Who> {
        let generation = self.generation.load(Ordering::Acquire);
        if identity.who.as_ref().is_some_and(|who| who.generation == generation) {
            return identity.who.as_ref();
        }
        let users = self.users.load();
        match &mut identity.who {
            Some(who) => {
                let known = users.get(&who.name).filter(|known| known.id == who.known.id)?;
                who.known = known.clone();
                who.generation = generation;
            }
            None => {
                let known = users.get(DEFAULT_USER.as_bytes())?.clone();
                identity.who = Some(Who {
                    name: Bytes::from_static(DEFAULT_USER.as_bytes()),
                    authenticated: known.user.needs_no_password(),
                    known,
                    generation,
                });
            }
        }
        identity.who.as_ref()
    }

    /// Whether a connection may run a command line; the error line if not. Noted in the log of refusals.
    pub(super) fn permit(
        &self,
        identity: &mut Identity,
        spec: &Spec,
        args: &[Bytes],
        context: Context,
        client: &Client,
        parameters: &Parameters,
    ) -> Result<(), String> {
        let Some(who) = self.renew(identity) else { return Err(NOAUTH.to_owned()) };
        if !who.authenticated {
            if !spec.has(Flag::NoAuth) {
                return Err(NOAUTH.to_owned());
            }
        } else if who.known.may_do_everything {
            return Ok(());
        }
        match who.known.user.check(spec, args) {
            Ok(()) => sort_denied(&who.known.user, spec, args).map_or(Ok(()), |line| Err(line.to_owned())),
            Err(denied) => {
                self.log.add(denied.reason(), context, denied.object(spec, args), who.name.clone(), client, parameters);
                Err(match context {
                    Context::TopLevel | Context::Multi => denied.line(spec),
                    Context::Exec => denied.line_at_exec(),
                })
            }
        }
    }

    /// Whose rules the commands of a connection's script obey, unless he may do everything. Nothing changes about who
    /// the connection is.
    pub(super) fn user_of_script(&self, identity: &Identity) -> Option<User> {
        let mut identity = identity.clone();
        match self.renew(&mut identity) {
            Some(who) if who.authenticated && who.known.may_do_everything => None,
            Some(who) if who.authenticated => Some(who.known.user.clone()),
            // Nobody may do nothing.
            _ => Some(User::new(false)),
        }
    }

    /// AUTH: whether the connection is this user from now on.
    pub(super) fn log_in(
        &self,
        identity: &mut Identity,
        [command, name, password]: [&Bytes; 3],
        context: Context,
        client: &Client,
        parameters: &Parameters,
    ) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        let known = self.users.load().get(name).cloned();
        // It takes as long when there is no such user.
        let nobody = User::new(false);
        let lets_in = known.as_ref().map_or(&nobody, |known| &known.user).lets_in(password);
        match known.filter(|_| lets_in) {
            Some(known) => {
                client.names.lock().user = Some((name.clone(), known.id));
                identity.who = Some(Who { name: name.clone(), known, authenticated: true, generation });
                true
            }
            None => {
                self.throttle.failed(client.address.ip(), Instant::now());
                self.log.add("auth", context, command.clone(), name.clone(), client, parameters);
                false
            }
        }
    }

    /// Whether the default user has no password that `AUTH password` could be meant for.
    pub(super) fn default_takes_any_password(&self) -> bool {
        self.users.load().get(DEFAULT_USER.as_bytes()).is_some_and(|known| known.user.takes_any_password())
    }
}

/// Whether a command has to wait: for the registry, or because passwords may be guessed with it.
pub(super) fn waits(command: GatewayCommand, args: &[Bytes]) -> bool {
    let has = |word: &str| args.iter().any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    match command {
        GatewayCommand::Acl(_) | GatewayCommand::Auth => true,
        GatewayCommand::Hello => has("auth"),
        GatewayCommand::Config(ConfigCommand::Set) => has("requirepass"),
        _ => false,
    }
}

/// What is said to those who have not said who they are.
const NOAUTH: &str = "NOAUTH Authentication required.";

fn unreadable(error: &RouterError) -> Value {
    refusal::reply(error)
}
