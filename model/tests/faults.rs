//! The protocol with one rule broken: the checker must find out, and find the law that the rule is there for.

use clap::ValueEnum;
use model::check::look_for_violation;
use model::fault::Fault;
use model::laws::LAWS;
use model::scene::Scene;

#[track_caller]
fn assert_found_out(fault: Fault) {
    let (name, law) = fault.shown();
    let scene = Scene::all().into_iter().find(|scene| scene.name == name).expect("a scene of that name");
    let violation = look_for_violation(&scene, fault, Some(law));
    println!("{name} with {fault:?}: {violation}\n{}", violation.traces());
    let broken: Vec<&str> = violation.found.iter().map(|(law, _)| *law).collect();
    assert!(broken.contains(&law), "{fault:?} must break {law:?} in {name}, and breaks only {broken:?}");
}

#[test]
fn every_law_is_broken_by_some_fault() {
    let shown: Vec<&str> = Fault::value_variants().iter().map(|fault| fault.shown().1).collect();
    let unbroken: Vec<&str> = LAWS.iter().map(|(law, _)| *law).filter(|law| !shown.contains(law)).collect();
    assert!(unbroken.is_empty(), "nothing shows that these could fail: {unbroken:?}");
}

macro_rules! faults {
    ($($test:ident: $fault:ident,)*) => {
        $(#[test]
        fn $test() {
            assert_found_out(Fault::$fault);
        })*

        #[test]
        fn every_fault_is_tried() {
            assert_eq!(Fault::value_variants(), [$(Fault::$fault),*]);
        }
    };
}

faults! {
    resolve_ignores_prepared: ResolveIgnoresPrepared,
    resolve_keeps_clock: ResolveKeepsClock,
    resolve_of_read_keeps_clock: ResolveOfReadKeepsClock,
    absent_is_left_alone: AbsentIsLeftAlone,
    absent_leaves_no_tombstone: AbsentLeavesNoTombstone,
    collect_at_forget: CollectAtForget,
    forget_unacknowledged: ForgetUnacknowledged,
    forgotten_loses_prepared: ForgottenLosesPrepared,
    commit_leaves_no_dedup: CommitLeavesNoDedup,
    recompute_after_unknown: RecomputeAfterUnknown,
    retry_after_unknown: RetryAfterUnknown,
    commit_on_absent: CommitOnAbsent,
    commit_below_votes: CommitBelowVotes,
    abort_overwrites: AbortOverwrites,
    prewrite_after_aborted: PrewriteAfterAborted,
    prewrite_below_floor: PrewriteBelowFloor,
    second_while_pending: SecondWhilePending,
    gone_means_aborted: GoneMeansAborted,
    answer_before_commit: AnswerBeforeCommit,
    exec_through_lock: ExecThroughLock,
    reads_unlocked: ReadsUnlocked,
    reads_not_validated: ReadsNotValidated,
    read_below_committed: ReadBelowCommitted,
    read_trusts_absent: ReadTrustsAbsent,
    pair_read_once: PairReadOnce,
    locked_read_trusts_abort: LockedReadTrustsAbort,
    scan_pushes_only_records: ScanPushesOnlyRecords,
    scan_never_pushes: ScanNeverPushes,
}
