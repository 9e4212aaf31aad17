"""Make the bucket that the server keeps artefacts in, unless it is there; its settings are the server's."""

import os
import time
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

TRIES = 30
"""How often to ask a store that is still starting, a second apart."""


def bucket(destination: str) -> str:
    """Return the bucket of an address: artifacts of s3://artifacts/folder."""
    return urlsplit(destination).netloc


def make(name: str, tries: int = TRIES) -> str:
    """Make a bucket, and say what became of it; what the store refuses, it refuses at once."""
    store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    for left in reversed(range(tries)):
        try:
            store.create_bucket(Bucket=name)
            return f"the bucket {name} was made"
        except (store.exceptions.BucketAlreadyOwnedByYou, store.exceptions.BucketAlreadyExists):
            return f"the bucket {name} is there"
        except ClientError as error:
            if not left or error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise
        except BotoCoreError:  # nothing answers yet
            if not left:
                raise
        time.sleep(1)
    raise AssertionError("the last try ends above")


if __name__ == "__main__":
    print(make(bucket(os.environ["MLFLOW_ARTIFACTS_DESTINATION"])))
