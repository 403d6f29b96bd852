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

run "prefix_too_long" {
  command = plan

  variables {
    prefix = "a23456789-123456789-1"
  }

  expect_failures = [var.prefix]
}

run "prefix_with_capitals" {
  command = plan

  variables {
    prefix = "Cells"
  }

  expect_failures = [var.prefix]
}

run "prefix_ending_in_a_hyphen" {
  command = plan

  variables {
    prefix = "cells-"
  }

  expect_failures = [var.prefix]
}

run "prefix_that_no_bucket_may_have" {
  command = plan

  variables {
    prefix = "my-google-cells"
  }

  expect_failures = [var.prefix]
}

run "unknown_flavor" {
  command = plan

  variables {
    flavor = "huge"
  }

  expect_failures = [var.flavor]
}

run "a_file_that_is_no_flavor" {
  command = plan

  variables {
    flavor = "flavor.schema"
  }

  expect_failures = [var.flavor]
}

run "a_flavor_elsewhere" {
  command = plan

  variables {
    flavor = "../flavors/default"
  }

  expect_failures = [var.flavor]
}

run "tag_that_moves" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "tag_that_is_none" {
  command = plan

  variables {
    image_tag = "a b"
  }

  expect_failures = [var.image_tag]
}

run "a_zone_for_a_region" {
  command = plan

  variables {
    region = "europe-west4-a"
  }

  expect_failures = [var.region]
}

run "a_project_number" {
  command = plan

  variables {
    project = "123456789012"
  }

  expect_failures = [var.project]
}

run "an_account_that_is_a_person" {
  command = plan

  variables {
    service_account_email = "ada@example.org"
  }

  expect_failures = [var.service_account_email]
}

run "a_secret_without_a_version" {
  command = plan

  variables {
    config_secret = "celldrop-env"
  }

  expect_failures = [var.config_secret]
}

run "a_connector_that_is_a_path" {
  command = plan

  variables {
    vpc_connector = "connectors/lab-net"
  }

  expect_failures = [var.vpc_connector]
}

run "an_instance_without_a_region" {
  command = plan

  variables {
    sql_instance = "lims"
  }

  expect_failures = [var.sql_instance]
}

run "a_repository_with_a_scheme" {
  command = plan

  variables {
    image_repository = "https://us-docker.pkg.dev/other/images"
  }

  expect_failures = [var.image_repository]
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

run "everybody_as_a_user" {
  command = plan

  variables {
    users = ["allUsers"]
  }

  expect_failures = [var.users]
}

run "everybody_as_a_requester" {
  command = plan

  variables {
    requesters = ["allAuthenticatedUsers"]
  }

  expect_failures = [var.requesters]
}

run "a_bucket_with_a_scheme" {
  command = plan

  variables {
    allowed_buckets = ["gs://lims"]
  }

  expect_failures = [var.allowed_buckets]
}

run "parts_that_go_too_early" {
  command = plan

  variables {
    work_days = 1
  }

  expect_failures = [var.work_days]
}

run "drops_that_go_too_early" {
  command = plan

  variables {
    inbox_days = 1
  }

  expect_failures = [var.inbox_days]
}

run "records_that_go_too_early" {
  command = plan

  variables {
    record_days = 7
  }

  expect_failures = [var.record_days]
}

run "results_of_less_than_no_days" {
  command = plan

  variables {
    results_days = -1
  }

  expect_failures = [var.results_days]
}

run "an_address_that_is_none" {
  command = plan

  variables {
    alert_emails = ["ops"]
  }

  expect_failures = [var.alert_emails]
}

run "a_billing_account_that_is_none" {
  command = plan

  variables {
    billing_account = "billing"
  }

  expect_failures = [var.billing_account]
}

run "half_a_budget" {
  command = plan

  variables {
    monthly_budget = 0.5
  }

  expect_failures = [var.monthly_budget]
}
