//! Commands about channels.

use super::super::arguments::{block, pattern, string};
use super::Flag::{self, *};
use super::GatewayCommand::Describe;
use super::Place::{self, AtGateway, Container};
use super::PubSubCommand::*;
use super::{KeySpec, Spec};

const SUBSCRIBER: &[Flag] = &[PubSub, NoScript, Loading, Stale];
const PUBLISHER: &[Flag] = &[PubSub, Loading, Stale, Fast];
const OBSERVER: &[Flag] = &[PubSub, Loading, Stale];

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("psubscribe", Place::PubSub(PSubscribe), -2, SUBSCRIBER)
        .categories(&["pubsub"])
        .group("pubsub")
        .since("2.0.0")
        .complexity("O(N) where N is the number of patterns that the client listens to")
        .summary("Listens to all channels that match patterns")
        .arguments(&[block("pattern", &[pattern("pattern")]).multiple()]),
    Spec::new("publish", Place::PubSub(Publish), 3, PUBLISHER)
        .categories(&["pubsub"])
        .group("pubsub")
        .since("2.0.0")
        .complexity("O(N+M) where N is the number of subscribers and M the number of patterns")
        .summary("Sends a message to whoever listens to a channel")
        .arguments(&[string("channel"), string("message")]),
    Spec::new("pubsub", Container, -2, &[])
        .group("pubsub")
        .since("2.8.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about who listens to which channels")
        .subcommands(&[
            Spec::new("pubsub|channels", Place::PubSub(Channels), -2, OBSERVER)
                .categories(&["pubsub"])
                .group("pubsub")
                .since("2.8.0")
                .complexity("O(N) where N is the number of channels that somebody listens to")
                .summary("Lists channels that somebody listens to")
                .arguments(&[pattern("pattern").optional()]),
            Spec::new("pubsub|help", AtGateway(Describe), 2, &[Loading, Stale])
                .group("pubsub")
                .since("6.2.0")
                .summary("Lists the subcommands"),
            Spec::new("pubsub|numpat", Place::PubSub(NumPat), 2, OBSERVER)
                .categories(&["pubsub"])
                .group("pubsub")
                .since("2.8.0")
                .summary("How many patterns clients listen to"),
            Spec::new("pubsub|numsub", Place::PubSub(NumSub), -2, OBSERVER)
                .categories(&["pubsub"])
                .group("pubsub")
                .since("2.8.0")
                .complexity("O(N) for the number of requested channels")
                .summary("How many clients listen to channels")
                .arguments(&[string("channel").optional().multiple()]),
            Spec::new("pubsub|shardchannels", Place::PubSub(ShardChannels), -2, OBSERVER)
                .categories(&["pubsub"])
                .group("pubsub")
                .since("7.0.0")
                .complexity("O(N) where N is the number of sharded channels that somebody listens to")
                .summary("Lists sharded channels that somebody listens to")
                .arguments(&[pattern("pattern").optional()]),
            Spec::new("pubsub|shardnumsub", Place::PubSub(ShardNumSub), -2, OBSERVER)
                .categories(&["pubsub"])
                .group("pubsub")
                .since("7.0.0")
                .complexity("O(N) for the number of requested channels")
                .summary("How many clients listen to sharded channels")
                .arguments(&[string("shardchannel").optional().multiple()]),
        ]),
    Spec::new("punsubscribe", Place::PubSub(PUnsubscribe), -1, SUBSCRIBER)
        .categories(&["pubsub"])
        .group("pubsub")
        .since("2.0.0")
        .complexity("O(N) where N is the number of patterns that the client listens to")
        .summary("Stops to listen to channels that match patterns")
        .arguments(&[pattern("pattern").optional().multiple()]),
    Spec::new("spublish", Place::PubSub(SPublish), 3, PUBLISHER)
        .keys(&[KeySpec::at(1, &["not_key"])])
        .categories(&["pubsub"])
        .group("pubsub")
        .since("7.0.0")
        .complexity("O(N) where N is the number of subscribers")
        .summary("Sends a message to whoever listens to a sharded channel")
        .arguments(&[string("shardchannel"), string("message")]),
    Spec::new("ssubscribe", Place::PubSub(SSubscribe), -2, SUBSCRIBER)
        .keys(&[KeySpec::all(&["not_key"])])
        .categories(&["pubsub"])
        .group("pubsub")
        .since("7.0.0")
        .complexity("O(N) where N is the number of sharded channels to listen to")
        .summary("Listens to sharded channels")
        .arguments(&[string("shardchannel").multiple()]),
    Spec::new("subscribe", Place::PubSub(Subscribe), -2, SUBSCRIBER)
        .categories(&["pubsub"])
        .group("pubsub")
        .since("2.0.0")
        .complexity("O(N) where N is the number of channels to listen to")
        .summary("Listens to channels")
        .arguments(&[string("channel").multiple()]),
    Spec::new("sunsubscribe", Place::PubSub(SUnsubscribe), -1, SUBSCRIBER)
        .keys(&[KeySpec::all(&["not_key"])])
        .categories(&["pubsub"])
        .group("pubsub")
        .since("7.0.0")
        .complexity("O(N) where N is the number of sharded channels to stop listening to")
        .summary("Stops to listen to sharded channels")
        .arguments(&[string("shardchannel").optional().multiple()]),
    Spec::new("unsubscribe", Place::PubSub(Unsubscribe), -1, SUBSCRIBER)
        .categories(&["pubsub"])
        .group("pubsub")
        .since("2.0.0")
        .complexity("O(N) where N is the number of channels that the client listens to")
        .summary("Stops to listen to channels")
        .arguments(&[string("channel").optional().multiple()]),
];
