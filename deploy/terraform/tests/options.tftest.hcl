# What is attached where it is asked for, and nothing of it where it is not.

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
  flavor    = "gpu"
}

run "plain" {
  assert {
    condition = alltrue(concat(
      [for service in google_cloud_run_v2_service.function : length(service.template[0].vpc_access) == 0 && length(service.template[0].volumes) == 0],
      [for job in google_cloud_run_v2_job.job : length(job.template[0].template[0].vpc_access) == 0 && length(job.template[0].template[0].volumes) == 0],
    ))
    error_message = "Expected no connector and nothing mounted."
  }

  assert {
    condition     = !contains(keys(output.environment), "CELLDROP_ENV_FILE") && length(google_secret_manager_secret_iam_member.reader) == 0
    error_message = "Expected no .env file and nobody to read a secret."
  }

  assert {
    condition     = !contains([for grant in google_project_iam_member.part : grant.role], "roles/cloudsql.client")
    error_message = "Expected no right on Cloud SQL."
  }

  assert {
    condition     = length(setintersection(keys(google_project_service.needed), ["secretmanager", "sqladmin", "vpcaccess", "billingbudgets"])) == 0
    error_message = "Expected no service that nothing uses."
  }

  assert {
    condition     = length(google_artifact_registry_repository.images) == 1 && google_artifact_registry_repository.images[0].repository_id == "cells"
    error_message = "Expected a repository, as none was given."
  }

  assert {
    condition     = length(google_billing_budget.monthly) == 0
    error_message = "Expected no budget without a billing account."
  }
}

run "vpc" {
  variables {
    vpc_connector = "lab-net"
  }

  assert {
    condition = alltrue(concat(
      [for service in google_cloud_run_v2_service.function : service.template[0].vpc_access[0].connector == "projects/lab-project/locations/europe-west4/connectors/lab-net"],
      [for job in google_cloud_run_v2_job.job : job.template[0].template[0].vpc_access[0].connector == "projects/lab-project/locations/europe-west4/connectors/lab-net"],
      [for service in google_cloud_run_v2_service.function : service.template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY"],
      [for job in google_cloud_run_v2_job.job : job.template[0].template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY"],
    ))
    error_message = "Expected every function and job behind the connector, for private addresses."
  }
}

run "vpc_of_a_host_project" {
  variables {
    vpc_connector = "projects/host/locations/europe-west4/connectors/shared"
  }

  assert {
    condition     = google_cloud_run_v2_job.job["gpu"].template[0].template[0].vpc_access[0].connector == "projects/host/locations/europe-west4/connectors/shared"
    error_message = "Expected a full name to be left as it is."
  }
}

run "sql" {
  variables {
    sql_instance = "data-project:europe-west4:lims"
  }

  assert {
    condition = alltrue(concat(
      [for service in google_cloud_run_v2_service.function : service.template[0].volumes[0].cloud_sql_instance[0].instances == tolist(["data-project:europe-west4:lims"])],
      [for job in google_cloud_run_v2_job.job : job.template[0].template[0].volumes[0].cloud_sql_instance[0].instances == tolist(["data-project:europe-west4:lims"])],
      [for service in google_cloud_run_v2_service.function : service.template[0].containers[0].volume_mounts[0].mount_path == "/cloudsql"],
      [for job in google_cloud_run_v2_job.job : job.template[0].template[0].containers[0].volume_mounts[0].mount_path == "/cloudsql"],
    ))
    error_message = "Expected the instance at /cloudsql of every function and task."
  }

  assert {
    condition = toset([
      for grant in google_project_iam_member.part : grant.condition[0].expression if grant.role == "roles/cloudsql.client"
    ]) == toset(["resource.service == \"sqladmin.googleapis.com\" && resource.name == \"projects/data-project/instances/lims\""])
    error_message = "Expected a right on that instance alone."
  }
}

run "vpc_and_sql_and_secret" {
  variables {
    vpc_connector = "lab-net"
    sql_instance  = "lab-project:europe-west4:lims"
    config_secret = "celldrop-env:7"
  }

  assert {
    condition = alltrue(concat(
      [for service in google_cloud_run_v2_service.function : { for mount in service.template[0].containers[0].volume_mounts : mount.name => mount.mount_path } == { config = "/etc/celldrop", cloudsql = "/cloudsql" }],
      [for job in google_cloud_run_v2_job.job : { for mount in job.template[0].template[0].containers[0].volume_mounts : mount.name => mount.mount_path } == { config = "/etc/celldrop", cloudsql = "/cloudsql" }],
      [for service in google_cloud_run_v2_service.function : length(service.template[0].vpc_access) == 1],
    ))
    error_message = "Expected both mounted, and the connector."
  }
}

run "secret" {
  variables {
    config_secret = "celldrop-env:7"
  }

  assert {
    condition = alltrue([
      for volume in concat(
        [for service in google_cloud_run_v2_service.function : service.template[0].volumes[0]],
        [for job in google_cloud_run_v2_job.job : job.template[0].template[0].volumes[0]],
      ) : volume.secret[0].secret == "celldrop-env" && volume.secret[0].items[0].path == ".env" && volume.secret[0].items[0].version == "7"
    ])
    error_message = "Expected version 7 of the secret as a file .env."
  }

  assert {
    condition = alltrue([
      for envs in concat(
        [for service in google_cloud_run_v2_service.function : service.template[0].containers[0].env],
        [for job in google_cloud_run_v2_job.job : job.template[0].template[0].containers[0].env],
      ) : { for env in envs : env.name => env.value }["CELLDROP_ENV_FILE"] == "/etc/celldrop/.env"
    ])
    error_message = "Expected every function and task to be told of the file."
  }

  assert {
    condition = (
      toset([for grant in google_secret_manager_secret_iam_member.reader : grant.member]) ==
      toset([for part in ["ingest", "dispatch", "status", "reconcile", "task"] : "serviceAccount:${google_service_account.part[part].email}"]) &&
      alltrue([for grant in google_secret_manager_secret_iam_member.reader : grant.secret_id == "celldrop-env" && grant.role == "roles/secretmanager.secretAccessor"])
    )
    error_message = "Expected those that run our code to read that secret, and nobody else."
  }

  assert {
    condition     = !strcontains(output.env_file, "CELLDROP_ENV_FILE") && strcontains(output.env_file, "CELLDROP_INBOX_BUCKET=cells-inbox-lab-project\n")
    error_message = "Expected an .env file for other machines, which do not have what is mounted."
  }
}

run "repository_that_is_there" {
  variables {
    image_repository = "us-docker.pkg.dev/other/images"
  }

  assert {
    condition = (
      length(google_artifact_registry_repository.images) == 0 &&
      google_cloud_run_v2_service.function["status"].template[0].containers[0].image == "us-docker.pkg.dev/other/images/celldrop-functions:0a1b2c3" &&
      google_cloud_run_v2_job.job["gpu"].template[0].template[0].containers[0].image == "us-docker.pkg.dev/other/images/celldrop-inference-cuda:0a1b2c3"
    )
    error_message = "Expected the images of the repository that was given, and none made."
  }
}

run "further_settings" {
  variables {
    settings        = { CELLDROP_MAX_CELLS = "1000", CELLDROP_LOG_LEVEL = "DEBUG" }
    allowed_buckets = ["lims-b", "lims-a"]
    record_days     = 400
  }

  assert {
    condition = alltrue([
      for envs in concat(
        [for service in google_cloud_run_v2_service.function : service.template[0].containers[0].env],
        [for job in google_cloud_run_v2_job.job : job.template[0].template[0].containers[0].env],
        ) : { for env in envs : env.name => env.value if contains(["CELLDROP_MAX_CELLS", "CELLDROP_LOG_LEVEL", "CELLDROP_ALLOWED_BUCKETS", "CELLDROP_RECORD_DAYS"], env.name) } == {
        CELLDROP_MAX_CELLS       = "1000"
        CELLDROP_LOG_LEVEL       = "DEBUG"
        CELLDROP_ALLOWED_BUCKETS = "lims-a,lims-b"
        CELLDROP_RECORD_DAYS     = "400"
      }
    ])
    error_message = "Expected them in every function and task."
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.elsewhere : "${grant.bucket} ${grant.role} ${grant.member}"]) == toset([
      for pair in setproduct(["lims-a", "lims-b"], ["ingest", "task"]) : "${pair[0]} roles/storage.objectViewer serviceAccount:${google_service_account.part[pair[1]].email}"
    ])
    error_message = "Expected ingest and the tasks to read those buckets, and nobody else to."
  }
}

run "budget_and_alerts" {
  variables {
    billing_account = "012345-6789AB-CDEF01"
    monthly_budget  = 250
    alert_emails    = ["ops@example.org"]
  }

  assert {
    condition = (
      google_billing_budget.monthly[0].amount[0].specified_amount[0].units == "250" &&
      google_billing_budget.monthly[0].budget_filter[0].projects == tolist(["projects/123456789012"]) &&
      [for rule in google_billing_budget.monthly[0].threshold_rules : rule.threshold_percent] == [0.5, 0.9, 1, 1]
    )
    error_message = "Expected a budget of 250 for this project, told at half, nine tenths and all of it."
  }

  assert {
    condition     = google_monitoring_notification_channel.email["ops@example.org"].labels == tomap({ email_address = "ops@example.org" })
    error_message = "Expected a channel for the address."
  }

  assert {
    condition = alltrue([
      for alert in concat(values(google_monitoring_alert_policy.alert), google_monitoring_alert_policy.silence) :
      alert.notification_channels == tolist([google_monitoring_notification_channel.email["ops@example.org"].id])
    ]) && keys(google_monitoring_alert_policy.alert) == ["backlog", "dead_letters", "executions", "failures"]
    error_message = "Expected every alert to be sent there."
  }
}

run "no_monitoring" {
  variables {
    monitoring = false
  }

  assert {
    condition     = length(google_monitoring_alert_policy.alert) + length(google_monitoring_alert_policy.silence) + length(google_monitoring_dashboard.overview) == 0
    error_message = "Expected no alert and no dashboard."
  }
}
