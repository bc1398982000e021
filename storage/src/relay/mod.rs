//! Messages between gateways: what PUBLISH says on one reaches the subscribers on all.
//!
//! Every gateway joins every node and says which channels it wants to hear of. Whoever publishes picks the node that
//! leads the group of the channel's key, so the messages of one channel have one order for everybody; as long as all
//! gateways are on that node, it does not matter if others believe in another leader. The node hands the message to
//! the gateways that want it, each gives it to its subscribers and says to how many, and when all have, the publisher
//! hears the sum: by then the message waits in every subscriber's mailbox.
//!
//! Nothing is kept, as in Redis: a gateway that is not joined when a message passes does not get it.
//!
//! [`hub`] is the pure part, [`serve`] its streams.

pub mod hub;
pub mod serve;
