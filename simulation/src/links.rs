//! The state of every link between two machines, while several faults may concern the same one.
//!
//! Faults overlap: a link may be cut by one, frozen by another, and one of them ends. The simulation knows one state of a
//! link; here is counted what each fault wants of it, and the worst of that is set. A link that is held is not cut: what is
//! said on it arrives when it is released.

use std::collections::BTreeMap;

use turmoil::Sim;

use crate::faults::Host;

/// What the faults want of each link.
#[derive(Default)]
pub struct Links {
    /// How many faults cut messages from one machine to another.
    cut: BTreeMap<(Host, Host), usize>,
    /// How many hold the messages of a machine.
    frozen: BTreeMap<Host, usize>,
}

impl Links {
    /// One more fault cuts this way.
    pub fn cut(&mut self, sim: &Sim<'_>, from: &Host, to: &Host) {
        *self.cut.entry((from.clone(), to.clone())).or_default() += 1;
        self.set(sim, from, to);
    }

    /// One of them has ended.
    pub fn mend(&mut self, sim: &Sim<'_>, from: &Host, to: &Host) {
        if let Some(count) = self.cut.get_mut(&(from.clone(), to.clone())) {
            *count = count.saturating_sub(1);
        }
        self.set(sim, from, to);
    }

    /// One more fault holds the messages of a machine.
    pub fn freeze(&mut self, sim: &Sim<'_>, host: &Host, all: &[Host]) {
        *self.frozen.entry(host.clone()).or_default() += 1;
        self.set_all_of(sim, host, all);
    }

    /// One of them has ended.
    pub fn thaw(&mut self, sim: &Sim<'_>, host: &Host, all: &[Host]) {
        if let Some(count) = self.frozen.get_mut(host) {
            *count = count.saturating_sub(1);
        }
        self.set_all_of(sim, host, all);
    }

    /// No fault wants anything any more.
    pub fn heal(&mut self, sim: &Sim<'_>, all: &[Host]) {
        self.cut.clear();
        self.frozen.clear();
        for host in all {
            self.set_all_of(sim, host, all);
        }
    }

    fn set_all_of(&self, sim: &Sim<'_>, host: &Host, all: &[Host]) {
        for other in all.iter().filter(|other| *other != host) {
            self.set(sim, host, other);
        }
    }

    fn set(&self, sim: &Sim<'_>, a: &Host, b: &Host) {
        let is_cut = |from: &Host, to: &Host| self.cut.get(&(from.clone(), to.clone())).is_some_and(|count| *count > 0);
        let is_frozen = |host: &Host| self.frozen.get(host).is_some_and(|count| *count > 0);
        let name = Host::as_str;
        if is_frozen(a) || is_frozen(b) {
            return sim.hold(name(a), name(b));
        }
        sim.release(name(a), name(b));
        sim.repair(name(a), name(b));
        for (from, to) in [(a, b), (b, a)] {
            if is_cut(from, to) {
                sim.partition_oneway(name(from), name(to));
            }
        }
    }
}
