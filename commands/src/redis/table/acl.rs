//! Commands about users: who a connection is, and who may do what.

use super::super::arguments::{integer, one_of, string, token};
use super::Flag::*;
use super::GatewayCommand::{Acl, Auth, Describe};
use super::Place::{AtGateway, Container};
use super::{AclCommand, Spec};

/// In alphabetical order.
pub(super) const COMMANDS: &[Spec] = &[
    Spec::new("acl", Container, -2, &[])
        .since("6.0.0")
        .complexity("Depends on subcommand.")
        .summary("Commands about users")
        .subcommands(&[
            Spec::new("acl|cat", AtGateway(Acl(AclCommand::Cat)), -2, &[NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(1) since the categories and commands are a fixed set.")
                .summary("Lists the categories, or the commands of one")
                .arguments(&[string("categoryname").optional()]),
            Spec::new("acl|deluser", AtGateway(Acl(AclCommand::DelUser)), -3, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(1) amortized time considering the typical user.")
                .summary("Removes users and ends their connections")
                .arguments(&[string("username").multiple()]),
            Spec::new("acl|dryrun", AtGateway(Acl(AclCommand::DryRun)), -4, &[Admin, NoScript, Loading, Stale])
                .since("7.0.0")
                .complexity("O(1).")
                .summary("Says whether a user may run a command, without running it")
                .arguments(&[string("username"), string("command"), string("arg").optional().multiple()]),
            Spec::new("acl|genpass", AtGateway(Acl(AclCommand::GenPass)), -2, &[NoScript, Loading, Stale])
                .since("6.0.0")
                .summary("Draws a random password")
                .arguments(&[integer("bits").optional()]),
            Spec::new("acl|getuser", AtGateway(Acl(AclCommand::GetUser)), 3, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N). Where N is the number of password, command and pattern rules that the user has.")
                .summary("Describes one user")
                .arguments(&[string("username")]),
            Spec::new("acl|help", AtGateway(Describe), 2, &[Loading, Stale])
                .since("6.0.0")
                .summary("Lists the subcommands"),
            Spec::new("acl|list", AtGateway(Acl(AclCommand::List)), 2, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N). Where N is the number of configured users.")
                .summary("Describes all users by their rules"),
            Spec::new("acl|load", AtGateway(Acl(AclCommand::Load)), 2, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N). Where N is the number of configured users.")
                .summary("Refused: users are kept in the cluster, not in a file"),
            Spec::new("acl|log", AtGateway(Acl(AclCommand::Log)), -2, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N) with N being the number of entries shown.")
                .summary("Lists what was lately refused by this gateway")
                .arguments(&[one_of("operation", &[integer("count"), token("reset", "RESET")]).optional()]),
            Spec::new("acl|save", AtGateway(Acl(AclCommand::Save)), 2, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N). Where N is the number of configured users.")
                .summary("Refused: users are kept in the cluster, not in a file"),
            Spec::new("acl|setuser", AtGateway(Acl(AclCommand::SetUser)), -3, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N). Where N is the number of rules provided.")
                .summary("Makes or changes a user by rules")
                .arguments(&[string("username"), string("rule").optional().multiple()]),
            Spec::new("acl|users", AtGateway(Acl(AclCommand::Users)), 2, &[Admin, NoScript, Loading, Stale])
                .since("6.0.0")
                .complexity("O(N). Where N is the number of configured users.")
                .summary("Lists the names of all users"),
            Spec::new("acl|whoami", AtGateway(Acl(AclCommand::WhoAmI)), 2, &[NoScript, Loading, Stale])
                .since("6.0.0")
                .summary("Name of the user of this connection"),
        ]),
    Spec::new("auth", AtGateway(Auth), -2, &[NoScript, Loading, Stale, Fast, NoAuth, AllowBusy])
        .categories(&["connection"])
        .group("connection")
        .complexity("O(N) where N is the number of passwords defined for the user")
        .summary("Says who the connection is")
        .arguments(&[string("username").optional(), string("password")]),
];
