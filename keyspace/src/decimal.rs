//! DynamoDB numbers.
