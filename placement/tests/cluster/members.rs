//! A replica moves from one node to another.

use proto::wire;
use tonic::{Code, Status};

use super::fake::{Mishap, Running};

async fn change(running: &Running, group_id: u64, add: u64, remove: u64) -> Result<Vec<wire::Member>, Status> {
    let request = wire::ChangeGroupMembersRequest { group_id, add_node_id: add, remove_node_id: remove };
    Ok(running.cluster().change_members(request).await?.into_inner().members)
}

fn placed(members: &[wire::Member]) -> Vec<(u64, u64)> {
    let mut placed: Vec<_> = members.iter().map(|member| (member.replica_id, member.node_id)).collect();
    placed.sort_unstable();
    placed
}

#[tokio::test]
async fn a_replica_moves_and_its_identity_is_new_each_time() {
    let (running, mut nodes) = Running::bootstrapped(3).await;
    // A node that comes later.
    let more = super::fake::Nodes::open(4).await;
    std::mem::swap(&mut *more.world(), &mut *nodes.world());
    nodes = more;
    nodes.register_all(&running).await;
    nodes.beat(&running).await;

    let leader = nodes.world().groups[&1].leader;
    let follower = leader % 3 + 1;
    let old = nodes.world().groups[&1].members.iter().find(|member| member.node_id == follower).unwrap().replica_id;
    let members = change(&running, 1, 4, follower).await.unwrap();
    assert!(placed(&members).contains(&(4, 4)) && !placed(&members).iter().any(|(_, node)| *node == follower));
    running.wait_for_jobs().await;
    assert!(nodes.world().replicas.contains(&(4, 1, 4)));
    assert!(!nodes.world().replicas.contains(&(follower, 1, old)), "the old replica's data is deleted");

    // Back again: replica 5, never the old identity.
    nodes.beat(&running).await;
    let members = change(&running, 1, follower, 4).await.unwrap();
    assert!(placed(&members).contains(&(5, follower)), "{members:?}");
    running.wait_for_jobs().await;
    let groups = running.cluster().groups(wire::GroupsRequest {}).await.unwrap().into_inner().groups;
    assert_eq!(placed(&groups[0].members), placed(&members));
    running.stop().await;
}

#[tokio::test]
async fn a_replica_on_a_node_that_is_away_is_deleted_when_it_returns() {
    let (running, nodes) = Running::bootstrapped(3).await;
    let leader = nodes.world().groups[&1].leader;
    let away = leader % 3 + 1;
    nodes.set_mishap(away, Some(Mishap::Nothing));
    assert_eq!(change(&running, 1, 0, away).await.unwrap().len(), 2);
    running.wait_for_failure().await;
    let jobs = running.jobs().await;
    assert_eq!((jobs.len(), &*jobs[0].kind), (1, "remove-replica"));
    nodes.set_mishap(away, None);
    running.wait_for_jobs().await;
    assert!(!nodes.world().replicas.iter().any(|(node, group, _)| (*node, *group) == (away, 1)));
    running.stop().await;
}

#[tokio::test]
async fn a_change_waits_for_a_report_when_the_group_has_other_members() {
    let (running, nodes) = Running::bootstrapped(3).await;
    let (leader, lost) = {
        let mut world = nodes.world();
        let group = world.groups.get_mut(&1).unwrap();
        let lost = group.members.iter().position(|member| member.node_id != group.leader).unwrap();
        (group.leader, group.members.remove(lost).node_id)
    };
    let other = (1..=3).find(|node| *node != leader && *node != lost).unwrap();
    let mut client = running.cluster();
    let request = wire::ChangeGroupMembersRequest { group_id: 1, add_node_id: 0, remove_node_id: other };
    let caller = tokio::spawn(async move { client.change_members(request).await });
    running.wait_for_failure().await;
    nodes.beat(&running).await;
    let members = caller.await.unwrap().unwrap().into_inner().members;
    assert_eq!(members.iter().map(|member| member.node_id).collect::<Vec<_>>(), [leader]);
    running.stop().await;
}

#[tokio::test]
async fn senseless_changes_are_refused() {
    let (running, _nodes) = Running::bootstrapped(3).await;
    let code = async |group, add, remove| change(&running, group, add, remove).await.unwrap_err().code();
    assert_eq!(code(9, 1, 0).await, Code::NotFound);
    assert_eq!(code(1, 9, 0).await, Code::NotFound);
    assert_eq!(code(1, 0, 0).await, Code::InvalidArgument);
    assert_eq!(code(1, 2, 0).await, Code::FailedPrecondition);
    assert_eq!(code(1, 0, 9).await, Code::FailedPrecondition);
    running.stop().await;
}
