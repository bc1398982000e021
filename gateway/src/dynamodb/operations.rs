//! From the name in `X-Amz-Target` to the function that answers.

use aws_smithy_json::serialize::JsonValueWriter;
use aws_smithy_types::Number;

use super::catalog::Catalog;
use super::fault::{Exception, Fault};
use super::store::Store;
use super::{alter_table, batch, items, query, tables, transact};

/// Version of the API; `X-Amz-Target` is this, a dot and the operation.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Operations that AWS has and this server has not: told from mere nonsense.
const NOT_YET: [&str; 36] = [
    "BatchExecuteStatement",
    "CreateBackup",
    "CreateGlobalTable",
    "DeleteBackup",
    "DeleteResourcePolicy",
    "DescribeBackup",
    "DescribeContributorInsights",
    "DescribeExport",
    "DescribeGlobalTable",
    "DescribeGlobalTableSettings",
    "DescribeImport",
    "DescribeKinesisStreamingDestination",
    "DescribeTableReplicaAutoScaling",
    "DisableKinesisStreamingDestination",
    "EnableKinesisStreamingDestination",
    "ExecuteStatement",
    "ExecuteTransaction",
    "ExportTableToPointInTime",
    "GetResourcePolicy",
    "ImportTable",
    "ListBackups",
    "ListContributorInsights",
    "ListExports",
    "ListGlobalTables",
    "ListImports",
    "PutResourcePolicy",
    "RestoreTableFromBackup",
    "RestoreTableToPointInTime",
    "UpdateContinuousBackups",
    "UpdateContributorInsights",
    "UpdateGlobalTable",
    "UpdateGlobalTableSettings",
    "UpdateKinesisStreamingDestination",
    "UpdateTableReplicaAutoScaling",
    "DescribeStream",
    "ListStreams",
];

/// An operation that this server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationName {
    BatchGetItem,
    BatchWriteItem,
    CreateTable,
    DeleteItem,
    DeleteTable,
    DescribeEndpoints,
    DescribeTable,
    GetItem,
    ListTables,
    PutItem,
    Query,
    Scan,
    TransactGetItems,
    TransactWriteItems,
    UpdateItem,
    DescribeContinuousBackups,
    DescribeLimits,
    DescribeTimeToLive,
    ListTagsOfResource,
    TagResource,
    UntagResource,
    UpdateTable,
    UpdateTimeToLive,
}

impl OperationName {
    const ALL: [OperationName; 23] = [
        OperationName::BatchGetItem,
        OperationName::BatchWriteItem,
        OperationName::CreateTable,
        OperationName::DeleteItem,
        OperationName::DeleteTable,
        OperationName::DescribeEndpoints,
        OperationName::DescribeTable,
        OperationName::GetItem,
        OperationName::ListTables,
        OperationName::PutItem,
        OperationName::Query,
        OperationName::Scan,
        OperationName::TransactGetItems,
        OperationName::TransactWriteItems,
        OperationName::UpdateItem,
        OperationName::DescribeContinuousBackups,
        OperationName::DescribeLimits,
        OperationName::DescribeTimeToLive,
        OperationName::ListTagsOfResource,
        OperationName::TagResource,
        OperationName::UntagResource,
        OperationName::UpdateTable,
        OperationName::UpdateTimeToLive,
    ];

    /// As AWS writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            OperationName::CreateTable => "CreateTable",
            OperationName::DeleteItem => "DeleteItem",
            OperationName::DeleteTable => "DeleteTable",
            OperationName::DescribeEndpoints => "DescribeEndpoints",
            OperationName::DescribeTable => "DescribeTable",
            OperationName::GetItem => "GetItem",
            OperationName::ListTables => "ListTables",
            OperationName::PutItem => "PutItem",
            OperationName::BatchGetItem => "BatchGetItem",
            OperationName::BatchWriteItem => "BatchWriteItem",
            OperationName::Query => "Query",
            OperationName::Scan => "Scan",
            OperationName::TransactGetItems => "TransactGetItems",
            OperationName::TransactWriteItems => "TransactWriteItems",
            OperationName::UpdateItem => "UpdateItem",
            OperationName::DescribeContinuousBackups => "DescribeContinuousBackups",
            OperationName::DescribeLimits => "DescribeLimits",
            OperationName::DescribeTimeToLive => "DescribeTimeToLive",
            OperationName::ListTagsOfResource => "ListTagsOfResource",
            OperationName::TagResource => "TagResource",
            OperationName::UntagResource => "UntagResource",
            OperationName::UpdateTable => "UpdateTable",
            OperationName::UpdateTimeToLive => "UpdateTimeToLive",
        }
    }

    /// Reads the header `X-Amz-Target`.
    pub(super) fn from_target(target: Option<&str>) -> Result<Self, Fault> {
        let unknown = |message: String| Fault::new(Exception::UnknownOperation, message);
        let Some(target) = target else {
            return Err(unknown("The header X-Amz-Target is missing".into()));
        };
        let name = target.strip_prefix(TARGET_PREFIX).unwrap_or_default();
        let known = Self::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| match NOT_YET.contains(&name) {
            true => unknown(format!("The operation {name} is not supported yet")),
            false => unknown(format!("There is no operation {target}")),
        })
    }
}

/// Runs an operation on the body of its request; answers the body of its reply. `host` is what the client calls us.
pub(super) async fn run<S: Store>(
    store: &S,
    catalog: &Catalog,
    operation: OperationName,
    body: &[u8],
    host: &str,
) -> Result<String, Fault> {
    match operation {
        OperationName::CreateTable => tables::create(store, catalog, body).await,
        OperationName::DeleteItem => items::delete(store, catalog, body).await,
        OperationName::DeleteTable => tables::delete(store, catalog, body).await,
        OperationName::DescribeEndpoints => Ok(endpoints(host)),
        OperationName::DescribeTable => tables::describe(store, body).await,
        OperationName::GetItem => items::get(store, catalog, body).await,
        OperationName::ListTables => tables::list(store, body).await,
        OperationName::PutItem => items::put(store, catalog, body).await,
        OperationName::BatchGetItem => batch::get(store, catalog, body).await,
        OperationName::BatchWriteItem => batch::write(store, catalog, body).await,
        OperationName::Query => query::query(store, catalog, body).await,
        OperationName::Scan => query::scan(store, catalog, body).await,
        OperationName::TransactGetItems => transact::get(store, catalog, body).await,
        OperationName::TransactWriteItems => transact::write(store, catalog, body).await,
        OperationName::UpdateItem => items::update(store, catalog, body).await,
        OperationName::DescribeContinuousBackups => alter_table::describe_continuous_backups(store, body).await,
        OperationName::DescribeLimits => Ok(alter_table::describe_limits()),
        OperationName::DescribeTimeToLive => alter_table::describe_time_to_live(store, body).await,
        OperationName::ListTagsOfResource => alter_table::list_tags(store, body).await,
        OperationName::TagResource => alter_table::tag(store, catalog, body).await,
        OperationName::UntagResource => alter_table::untag(store, catalog, body).await,
        OperationName::UpdateTable => alter_table::update(store, catalog, body).await,
        OperationName::UpdateTimeToLive => alter_table::update_time_to_live(store, catalog, body).await,
    }
}

/// For SDKs that ask where to go: stay here, ask again tomorrow.
fn endpoints(host: &str) -> String {
    const CACHE_MINUTES: u64 = 24 * 60;
    let mut out = String::new();
    let mut object = JsonValueWriter::new(&mut out).start_object();
    let mut array = object.key("Endpoints").start_array();
    let mut endpoint = array.value().start_object();
    endpoint.key("Address").string(host);
    endpoint.key("CachePeriodInMinutes").number(Number::PosInt(CACHE_MINUTES));
    endpoint.finish();
    array.finish();
    object.finish();
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_operations() {
        let target = |target: &str| OperationName::from_target(Some(target)).map_err(|fault| fault.message);
        for known in OperationName::ALL {
            assert_eq!(target(&format!("DynamoDB_20120810.{}", known.name())), Ok(known));
            assert!(!NOT_YET.contains(&known.name()));
        }
        assert_eq!(
            target("DynamoDB_20120810.CreateBackup").unwrap_err(),
            "The operation CreateBackup is not supported yet"
        );
        assert_eq!(target("DynamoDB_20111205.GetItem").unwrap_err(), "There is no operation DynamoDB_20111205.GetItem");
        assert!(OperationName::from_target(None).is_err());
    }

    #[test]
    fn endpoints_point_back() {
        assert_eq!(endpoints("a:1"), r#"{"Endpoints":[{"Address":"a:1","CachePeriodInMinutes":1440}]}"#);
    }
}
