"""An app that knows boto3, against the gateways of one cluster.

    python3 with_boto3.py http://127.0.0.1:8000 [http://127.0.0.1:8001 ...]

Every check is one of things that apps do, unchanged but for `endpoint_url`: the client, the resource, waiters,
paginators, the batch writer, exceptions by their classes. Where several gateways are given, what one has written is
looked at through another.
"""

import os
import sys
import time
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


class Indexes(unittest.TestCase):
    """A table with a local index on `at` and a global one on `who` and `at`."""

    def setUp(self):
        self.name = "boto3-" + uuid.uuid4().hex

        def key(name, role):
            return {"AttributeName": name, "KeyType": role}

        table = resource().create_table(
            TableName=self.name,
            KeySchema=[key("p", "HASH"), key("s", "RANGE")],
            AttributeDefinitions=[
                {"AttributeName": "p", "AttributeType": "S"},
                {"AttributeName": "s", "AttributeType": "N"},
                {"AttributeName": "at", "AttributeType": "N"},
                {"AttributeName": "who", "AttributeType": "S"},
            ],
            LocalSecondaryIndexes=[
                {
                    "IndexName": "by-time",
                    "KeySchema": [key("p", "HASH"), key("at", "RANGE")],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-who",
                    "KeySchema": [key("who", "HASH"), key("at", "RANGE")],
                    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["note"]},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        table.wait_until_exists()
        self.table, self.other = resource(0).Table(self.name), resource(1).Table(self.name)
        self.errors = self.table.meta.client.exceptions

    def tearDown(self):
        self.table.delete()

    def notes(self, who, **more):
        condition = Key("who").eq(who)
        found = self.other.query(IndexName="by-who", KeyConditionExpression=condition, **more)
        return [item["note"] for item in found["Items"]]

    def test_an_index_knows_at_once_what_any_gateway_has_written(self):
        with self.table.batch_writer() as batch:
            for n in range(30):
                batch.put_item(Item={"p": f"p{n % 3}", "s": n, "at": 100 - n, "who": "ada", "note": f"n{n}"})
        self.assertEqual(self.notes("ada"), [f"n{n}" for n in reversed(range(30))])
        self.table.update_item(
            Key={"p": "p1", "s": 1},
            UpdateExpression="SET who = :who, note = :note",
            ExpressionAttributeValues={":who": "bob", ":note": "moved"},
        )
        self.assertEqual(self.notes("bob"), ["moved"])
        self.table.update_item(Key={"p": "p1", "s": 1}, UpdateExpression="REMOVE who")
        self.assertEqual(self.notes("bob"), [])
        self.table.delete_item(Key={"p": "p2", "s": 2})
        self.assertEqual(len(self.notes("ada")), 28)
        self.assertEqual(self.notes("ada", ScanIndexForward=False, Limit=2), ["n0", "n3"])

    def test_pages_of_indexes_follow_each_other(self):
        with self.table.batch_writer() as batch:
            for n in range(25):
                batch.put_item(Item={"p": "p", "s": n, "at": n // 5, "who": "ada", "note": f"n{n}", "more": "x"})
        pages = client(1).get_paginator("query").paginate(
            TableName=self.name,
            IndexName="by-who",
            KeyConditionExpression="who = :who AND #at > :one",
            ExpressionAttributeNames={"#at": "at"},
            ExpressionAttributeValues={":who": {"S": "ada"}, ":one": {"N": "1"}},
            PaginationConfig={"PageSize": 4},
        )
        found = [item["note"]["S"] for page in pages for item in page["Items"]]
        self.assertEqual(found, [f"n{n}" for n in range(10, 25)])
        by_time = {"IndexName": "by-time", "KeyConditionExpression": Key("p").eq("p") & Key("at").eq(2)}
        self.assertEqual(set(self.other.query(**by_time)["Items"][0]), {"p", "s", "at"})
        whole = self.other.query(**by_time, Select="ALL_ATTRIBUTES", ConsistentRead=True)["Items"]
        self.assertEqual([item["note"] for item in whole], ["n10", "n11", "n12", "n13", "n14"])
        self.assertEqual(self.other.scan(Select="COUNT")["Count"], 25)
        self.assertEqual(self.other.scan(IndexName="by-who", Select="COUNT")["Count"], 25)

    def test_what_an_index_cannot_hold_is_refused(self):
        with self.assertRaisesRegex(self.errors.ClientError, "Type mismatch for Index Key who Expected: S Actual: N"):
            self.table.put_item(Item={"p": "p", "s": 1, "at": 1, "who": 7})
        with self.assertRaisesRegex(self.errors.ClientError, "empty string value"):
            self.table.put_item(Item={"p": "p", "s": 1, "at": 1, "who": ""})
        with self.assertRaisesRegex(self.errors.ClientError, "Consistent reads are not supported"):
            self.table.query(IndexName="by-who", KeyConditionExpression=Key("who").eq("ada"), ConsistentRead=True)
        self.assertEqual(self.other.scan(Select="COUNT")["Count"], 0)

    def test_an_index_is_added_to_a_table_and_filled(self):
        for n in range(40):
            self.table.put_item(Item={"p": f"p{n}", "s": n, "note": f"n{n % 4}"})
        some = client()
        some.update_table(
            TableName=self.name,
            AttributeDefinitions=[{"AttributeName": "note", "AttributeType": "S"}],
            GlobalSecondaryIndexUpdates=[
                {
                    "Create": {
                        "IndexName": "by-note",
                        "KeySchema": [{"AttributeName": "note", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                }
            ],
        )
        deadline = time.monotonic() + 180
        written = 40
        while True:
            description = client(1).describe_table(TableName=self.name)["Table"]
            index = next(it for it in description["GlobalSecondaryIndexes"] if it["IndexName"] == "by-note")
            if index["IndexStatus"] == "ACTIVE":
                break
            self.assertLess(time.monotonic(), deadline, index)
            # Meanwhile the table is written to, through gateways that do and do not know the index yet.
            for number, table in enumerate([self.table, self.other]):
                table.put_item(Item={"p": f"p{written}", "s": written, "note": f"n{written % 4}"})
                written += 1
            time.sleep(0.2)
        # Gateways believe what they know of a table for a second.
        while True:
            try:
                found = [self.count(number, f"n{n}") for number in range(len(ENDPOINTS)) for n in range(4)]
                break
            except self.errors.ClientError as error:
                self.assertRegex(str(error), "backfilling|does not have the specified index")
                self.assertLess(time.monotonic(), deadline)
        self.assertEqual(found, [(written - n + 3) // 4 for n in range(4)] * len(ENDPOINTS))
        some.update_table(
            TableName=self.name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-note"}}]
        )
        left = some.describe_table(TableName=self.name)["Table"]["GlobalSecondaryIndexes"]
        self.assertEqual([index["IndexName"] for index in left], ["by-who"])

    def count(self, number, note):
        pages = client(number).get_paginator("query").paginate(
            TableName=self.name,
            IndexName="by-note",
            Select="COUNT",
            KeyConditionExpression="note = :note",
            ExpressionAttributeValues={":note": {"S": note}},
        )
        return sum(page["Count"] for page in pages)


if __name__ == "__main__":
    ENDPOINTS = sys.argv[1:]
    if not ENDPOINTS:
        sys.exit(__doc__)
    unittest.main(argv=sys.argv[:1], verbosity=2)
