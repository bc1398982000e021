//! Lists: transactions that append words to strings and read them, over keys in several groups. All transactions of a
//! window must be strictly serializable.

use checkers::serializable::{Step, check};
use rand::Rng;

use super::client::words;
use super::{Client, Histories, Workload};
use crate::resp::Reply;

/// Spread over the hash slots, and so over the groups.
const KEYS: u64 = 6;
const MOST_STEPS: usize = 4;

type Steps = Vec<Step<String, String>>;

/// The workload.
#[derive(Default)]
pub struct Lists {
    /// By window: no transaction touches keys of two.
    histories: Histories<u64, Steps, ()>,
}

impl Lists {
    fn run(&self, client: &mut Client, window: u64, mut steps: Steps) {
        let commands: Vec<Vec<String>> = steps
            .iter()
            .map(|step| match step {
                Step::Append(key, word) => words(&format!("APPEND {key} {word},")),
                Step::Read(key, _) => words(&format!("GET {key}")),
            })
            .collect();
        let called = client.now();
        // One command alone takes the way of one group.
        let told = match &commands[..] {
            [command] => client.ask(command).map(|reply| vec![reply]),
            _ => client.transact(&commands),
        };
        let told = told.map(|replies| {
            for (step, reply) in steps.iter_mut().zip(replies) {
                if let Step::Read(_, list) = step {
                    *list = Some(list_of(&reply));
                }
            }
        });
        self.histories.note(window, client.operation(called, steps, told));
    }
}

fn list_of(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Nil => Vec::new(),
        // An error among the replies is no list that anybody has made.
        other => other
            .text()
            .map_or_else(|| vec![format!("{other:?}")], |text| text.split_terminator(',').map(str::to_owned).collect()),
    }
}

fn key(window: u64, number: u64) -> String {
    format!("list:{window}:{number}")
}

impl Workload for Lists {
    fn name(&self) -> &'static str {
        "lists"
    }

    fn step(&self, client: &mut Client) {
        let window = client.window();
        let count = client.random.random_range(1..=MOST_STEPS);
        let steps = (0..count)
            .map(|_| {
                let key = key(window, client.random.random_range(0..KEYS));
                match client.random.random_bool(0.5) {
                    true => Step::Append(key, client.unique().to_string()),
                    false => Step::Read(key, None),
                }
            })
            .collect();
        self.run(client, window, steps);
    }

    fn finish(&self, client: &mut Client) {
        for window in self.histories.keys() {
            let steps = (0..KEYS).map(|number| Step::Read(key(window, number), None)).collect();
            self.run(client, window, steps);
        }
    }

    fn judge(&self) -> Result<(), String> {
        let histories = self.histories.lock();
        histories.iter().try_for_each(|(window, history)| {
            check(history).map_err(|violation| format!("window {window}: {violation}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_of_words_is_a_list() {
        assert_eq!(list_of(&Reply::Nil), Vec::<String>::new());
        assert_eq!(list_of(&Reply::Bulk(b"1,22,".to_vec())), ["1", "22"]);
        assert_eq!(list_of(&Reply::Error("ERR x".into())).len(), 1);
    }
}
