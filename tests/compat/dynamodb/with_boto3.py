"""An app that knows boto3, against the gateways of one cluster.

    python3 with_boto3.py http://127.0.0.1:8000 [http://127.0.0.1:8001 ...]

Every check is one of things that apps do, unchanged but for `endpoint_url`: the client, the resource, waiters,
paginators, the batch writer, exceptions by their classes. Where several gateways are given, what one has written is
looked at through another.
"""

import os
import sys
import unittest
import uuid
from decimal import Decimal

import boto3
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.config import Config

ENDPOINTS = []


def settings(number):
    os.environ.pop("AWS_PROFILE", None)
    return {
        "endpoint_url": ENDPOINTS[number % len(ENDPOINTS)],
        "region_name": "us-east-1",
        "aws_access_key_id": "any",
        "aws_secret_access_key": "any",
        "config": Config(retries={"max_attempts": 5, "mode": "standard"}, read_timeout=30),
    }


def client(number=0):
    return boto3.client("dynamodb", **settings(number))


def resource(number=0):
    return boto3.resource("dynamodb", **settings(number))


class WithTable(unittest.TestCase):
    """A table of its own with a partition key `p` of text and a sort key `s` that is a number."""

    def setUp(self):
        self.name = "boto3-" + uuid.uuid4().hex
        table = resource().create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "p", "AttributeType": "S"},
                {"AttributeName": "s", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        table.wait_until_exists()
        self.tables = [resource(n).Table(self.name) for n in range(len(ENDPOINTS))]
        self.table, self.other = self.tables[0], self.tables[-1]
        self.errors = self.table.meta.client.exceptions

    def tearDown(self):
        self.table.delete()
        self.table.wait_until_not_exists()


class Items(WithTable):
    def test_an_item_of_every_type_comes_back(self):
        item = {
            "p": "a",
            "s": Decimal("1.5"),
            "text": "naïve ☕",
            "empty": "",
            "bytes": Binary(bytes(range(256))),
            "true": True,
            "nothing": None,
            "list": [1, "two", [Decimal("3e20")]],
            "map": {"deep": {"deeper": {}}},
            "texts": {"x", "y"},
            "numbers": {Decimal(1), Decimal("2.5")},
            "blobs": {Binary(b"1"), Binary(b"2")},
        }
        self.table.put_item(Item=item)
        self.assertEqual(self.other.get_item(Key={"p": "a", "s": Decimal("1.50")}, ConsistentRead=True)["Item"], item)
        self.assertNotIn("Item", self.other.get_item(Key={"p": "a", "s": 2}))

    def test_conditions_fail_by_their_class(self):
        first = {"p": "a", "s": 1, "n": 1}
        self.table.put_item(Item=first, ConditionExpression=Attr("p").not_exists())
        with self.assertRaises(self.errors.ConditionalCheckFailedException) as caught:
            self.table.put_item(
                Item={"p": "a", "s": 1},
                ConditionExpression=Attr("p").not_exists(),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        self.assertEqual(caught.exception.response["Error"]["Message"], "The conditional request failed")
        self.assertEqual(caught.exception.response["Item"]["n"], {"N": "1"})
        gone = self.table.delete_item(Key={"p": "a", "s": 1}, ConditionExpression=Attr("n").eq(1), ReturnValues="ALL_OLD")
        self.assertEqual(gone["Attributes"], first)

    def test_updates_answer_what_they_changed(self):
        key = {"p": "a", "s": 1}
        for expected in range(1, 6):
            counted = self.tables[expected % len(self.tables)].update_item(
                Key=key,
                UpdateExpression="SET seen = list_append(if_not_exists(seen, :none), :new) ADD #n :one",
                ExpressionAttributeNames={"#n": "count"},
                ExpressionAttributeValues={":one": 1, ":none": [], ":new": [expected]},
                ReturnValues="UPDATED_NEW",
            )
            self.assertEqual(counted["Attributes"]["count"], expected)
        self.assertEqual(self.other.get_item(Key=key)["Item"]["seen"], [1, 2, 3, 4, 5])

    def test_errors_have_their_names(self):
        with self.assertRaises(self.errors.ResourceNotFoundException):
            resource().Table("nowhere").get_item(Key={"p": "a"})
        with self.assertRaises(self.errors.ResourceInUseException):
            client().create_table(
                TableName=self.name,
                KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        with self.assertRaises(self.errors.ClientError) as caught:
            self.table.put_item(Item={"p": "a"})
        self.assertEqual(caught.exception.response["Error"]["Code"], "ValidationException")
        self.assertIn("Missing the key s in the item", caught.exception.response["Error"]["Message"])

    def test_capacity_is_reported(self):
        written = self.table.put_item(Item={"p": "a", "s": 1, "v": "x" * 2000}, ReturnConsumedCapacity="TOTAL")
        self.assertEqual(written["ConsumedCapacity"], {"TableName": self.name, "CapacityUnits": 2.0})


class Many(WithTable):
    def fill(self, count):
        with self.table.batch_writer() as batch:
            for n in range(count):
                batch.put_item(Item={"p": "a" if n % 2 else "b", "s": n, "n": n, "v": "x" * 3000})

    def test_batches_queries_and_scans_find_everything_once(self):
        self.fill(1000)
        found = []
        answer = self.other.query(KeyConditionExpression=Key("p").eq("a"))
        found.extend(answer["Items"])
        pages = 1
        while "LastEvaluatedKey" in answer:
            answer = self.other.query(
                KeyConditionExpression=Key("p").eq("a"), ExclusiveStartKey=answer["LastEvaluatedKey"]
            )
            found.extend(answer["Items"])
            pages += 1
        self.assertEqual([item["n"] for item in found], list(range(1, 1000, 2)))
        self.assertGreater(pages, 1, "a page has at most a megabyte")
        few = self.other.query(
            KeyConditionExpression=Key("p").eq("b") & Key("s").between(10, 20),
            FilterExpression=Attr("n").ne(14),
            ProjectionExpression="n",
            ScanIndexForward=False,
        )
        self.assertEqual([item["n"] for item in few["Items"]], [20, 18, 16, 12, 10])
        self.assertEqual((few["Count"], few["ScannedCount"]), (5, 6))
        paginator = client().get_paginator("scan")
        numbers = []
        for segment in range(4):
            for page in paginator.paginate(TableName=self.name, Segment=segment, TotalSegments=4):
                numbers.extend(int(item["n"]["N"]) for item in page["Items"])
        self.assertEqual(sorted(numbers), list(range(1000)))
        keys = [{"p": "a" if n % 2 else "b", "s": n} for n in range(100)]
        read = resource().batch_get_item(RequestItems={self.name: {"Keys": keys, "ProjectionExpression": "n"}})
        self.assertEqual(sorted(item["n"] for item in read["Responses"][self.name]), list(range(100)))
        self.assertEqual(read["UnprocessedKeys"], {})

    def test_the_parameters_from_before_there_were_expressions(self):
        self.fill(10)
        answer = client().query(
            TableName=self.name,
            KeyConditions={
                "p": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "b"}]},
                "s": {"ComparisonOperator": "GT", "AttributeValueList": [{"N": "2"}]},
            },
            QueryFilter={"n": {"ComparisonOperator": "NE", "AttributeValueList": [{"N": "6"}]}},
            AttributesToGet=["n"],
        )
        self.assertEqual(answer["Items"], [{"n": {"N": "4"}}, {"n": {"N": "8"}}])
        update = {
            "TableName": self.name,
            "Key": {"p": {"S": "a"}, "s": {"N": "1"}},
            "AttributeUpdates": {"n": {"Action": "ADD", "Value": {"N": "5"}}, "v": {"Action": "DELETE"}},
            "Expected": {"n": {"Value": {"N": "1"}}, "none": {"Exists": False}},
            "ReturnValues": "ALL_NEW",
        }
        self.assertEqual(client().update_item(**update)["Attributes"]["n"], {"N": "6"})
        with self.assertRaises(self.errors.ConditionalCheckFailedException):
            client().update_item(**update)


class Transactions(WithTable):
    def add(self, amount):
        return [
            {
                "Update": {
                    "TableName": self.name,
                    "Key": {"p": {"S": p}, "s": {"N": "1"}},
                    "UpdateExpression": "ADD n :n",
                    "ExpressionAttributeValues": {":n": {"N": str(change)}},
                }
            }
            for p, change in [("ada", -amount), ("bob", amount), ("cyd", 0)]
        ]

    def read(self):
        get = [
            {"Get": {"TableName": self.name, "Key": {"p": {"S": p}, "s": {"N": "1"}}}} for p in ["ada", "bob", "cyd"]
        ]
        answers = client(1).transact_get_items(TransactItems=get)["Responses"]
        return [int(answer["Item"]["n"]["N"]) for answer in answers]

    def test_a_token_counts_once_at_every_gateway(self):
        token = str(uuid.uuid4())
        for number in range(4):
            client(number).transact_write_items(TransactItems=self.add(3), ClientRequestToken=token)
            self.assertEqual(self.read(), [-3, 3, 0])
        for number in range(2):
            with self.assertRaises(self.errors.IdempotentParameterMismatchException):
                client(number).transact_write_items(TransactItems=self.add(4), ClientRequestToken=token)
        # Without one, boto3 draws a new one for each call.
        client().transact_write_items(TransactItems=self.add(3))
        client().transact_write_items(TransactItems=self.add(3))
        self.assertEqual(self.read(), [-9, 9, 0])

    def test_a_cancelled_transaction_says_why(self):
        check = {
            "ConditionCheck": {
                "TableName": self.name,
                "Key": {"p": {"S": "nobody"}, "s": {"N": "1"}},
                "ConditionExpression": "attribute_exists(p)",
            }
        }
        with self.assertRaises(self.errors.TransactionCanceledException) as caught:
            client().transact_write_items(TransactItems=self.add(1) + [check])
        reasons = [reason["Code"] for reason in caught.exception.response["CancellationReasons"]]
        self.assertEqual(reasons, ["None", "None", "None", "ConditionalCheckFailed"])
        self.assertNotIn("Item", self.table.get_item(Key={"p": "ada", "s": 1}))


class Tables(WithTable):
    def test_a_table_is_described_tagged_and_changed(self):
        some = client()
        description = some.describe_table(TableName=self.name)["Table"]
        arn = description["TableArn"]
        self.assertEqual(description["TableStatus"], "ACTIVE")
        some.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "tea"}, {"Key": "x", "Value": ""}])
        some.untag_resource(ResourceArn=arn, TagKeys=["x"])
        self.assertEqual(client(1).list_tags_of_resource(ResourceArn=arn)["Tags"], [{"Key": "team", "Value": "tea"}])
        some.update_time_to_live(
            TableName=self.name, TimeToLiveSpecification={"AttributeName": "at", "Enabled": True}
        )
        ttl = client(1).describe_time_to_live(TableName=self.name)["TimeToLiveDescription"]
        self.assertEqual(ttl, {"AttributeName": "at", "TimeToLiveStatus": "ENABLED"})
        changed = some.update_table(
            TableName=self.name,
            BillingMode="PROVISIONED",
            ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
        )["TableDescription"]
        self.assertEqual(changed["ProvisionedThroughput"]["WriteCapacityUnits"], 6)
        self.assertIn("TableMaxReadCapacityUnits", some.describe_limits())
        names = [name for page in some.get_paginator("list_tables").paginate() for name in page["TableNames"]]
        self.assertIn(self.name, names)


if __name__ == "__main__":
    ENDPOINTS = sys.argv[1:]
    if not ENDPOINTS:
        sys.exit(__doc__)
    unittest.main(argv=sys.argv[:1], verbosity=2)
