# What is refused before anything is made.

mock_provider "google" {
  source = "./tests/mocks"
}

mock_provider "google" {
  alias  = "billing"
  source = "./tests/mocks"
}

variables {
  project   = "lab-project"
  region    = "europe-west4"
  prefix    = "cells"
  image_tag = "0a1b2c3"
}

run "the_longest_prefix_is_taken" {
  command = plan

  variables {
    project = "a23456789-123456789-123456789z"
    prefix  = "a23456789-123456789z"
  }

  assert {
    condition = alltrue(concat(
      [for bucket in google_storage_bucket.bucket : length(bucket.name) <= 63],
      [for account in google_service_account.part : length(account.account_id) <= 30],
      [for service in google_cloud_run_v2_service.function : length(service.name) <= 49],
      [length(google_firestore_database.submissions.name) <= 63, length(google_eventarc_trigger.inbox.name) <= 63],
    ))
    error_message = "Expected every name within its service's limit."
  }
}

run "the_shortest_prefix_is_taken" {
  command = plan

  variables {
    prefix = "a"
  }

  assert {
    condition     = alltrue([for account in google_service_account.part : length(account.account_id) >= 6]) && length(google_firestore_database.submissions.name) >= 4
    error_message = "Expected every name long enough."
  }
}

# Each run gives several variables a value that is refused. A run fails unless each of them is refused: what is wrong
# with one does not keep Terraform from judging the others. Settings are judged by what is made of a prefix and a flavor,
# and so alone.

run "values_that_are_refused" {
  command = plan

  variables {
    # Prefix too long.
    prefix = "a23456789-123456789-1"
    # Unknown flavor.
    flavor = "huge"
    # Tag that moves.
    image_tag = "latest"
    # A zone for a region.
    region = "europe-west4-a"
    # A project number.
    project = "123456789012"
    # An account that is a person.
    service_account_email = "ada@example.org"
    # A secret without a version.
    config_secret = "celldrop-env"
    # A connector that is a path.
    vpc_connector = "connectors/lab-net"
    # An instance without a region.
    sql_instance = "lims"
    # A repository with a scheme.
    image_repository = "https://us-docker.pkg.dev/other/images"
    # Everybody as a user.
    users = ["allUsers"]
    # Everybody as a requester.
    requesters = ["allAuthenticatedUsers"]
    # A bucket with a scheme.
    allowed_buckets = ["gs://lims"]
    # Parts that go too early.
    work_days = 1
    # Drops that go too early.
    inbox_days = 1
    # Records that go too early.
    record_days = 7
    # Results of less than no days.
    results_days = -1
    # An address that is none.
    alert_emails = ["ops"]
    # A billing account that is none.
    billing_account = "billing"
    # Half a budget.
    monthly_budget = 0.5
  }

  expect_failures = [
    var.prefix,
    var.flavor,
    var.image_tag,
    var.region,
    var.project,
    var.service_account_email,
    var.config_secret,
    var.vpc_connector,
    var.sql_instance,
    var.image_repository,
    var.users,
    var.requesters,
    var.allowed_buckets,
    var.work_days,
    var.inbox_days,
    var.record_days,
    var.results_days,
    var.alert_emails,
    var.billing_account,
    var.monthly_budget,
  ]
}

run "second_values_that_are_refused" {
  command = plan

  variables {
    # Prefix with capitals.
    prefix = "Cells"
    # A file that is no flavor.
    flavor = "flavor.schema"
    # Tag that is none.
    image_tag = "a b"
  }

  expect_failures = [
    var.prefix,
    var.flavor,
    var.image_tag,
  ]
}

run "third_values_that_are_refused" {
  command = plan

  variables {
    # Prefix ending in a hyphen.
    prefix = "cells-"
    # A flavor elsewhere.
    flavor = "../flavors/default"
  }

  expect_failures = [
    var.prefix,
    var.flavor,
  ]
}

run "prefix_that_no_bucket_may_have" {
  command = plan

  variables {
    prefix = "my-google-cells"
  }

  expect_failures = [var.prefix]
}

run "a_setting_that_is_ours" {
  command = plan

  variables {
    settings = { CELLDROP_BACKEND = "local" }
  }

  expect_failures = [var.settings]
}

run "a_setting_that_is_none" {
  command = plan

  variables {
    settings = { PATH = "/tmp" }
  }

  expect_failures = [var.settings]
}
