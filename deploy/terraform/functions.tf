# The four functions as Cloud Run services: one image, whose argument says which it is.

locals {
  # Those that only Google's own services call answer nobody else. People and programs look things up at status.
  ingress = {
    ingest    = "INGRESS_TRAFFIC_INTERNAL_ONLY"
    dispatch  = "INGRESS_TRAFFIC_INTERNAL_ONLY"
    reconcile = "INGRESS_TRAFFIC_INTERNAL_ONLY"
    status    = "INGRESS_TRAFFIC_ALL"
  }
}

resource "google_cloud_run_v2_service" "function" {
  for_each = local.functions

  project             = local.project
  location            = var.region
  name                = "${var.prefix}-${each.key}"
  ingress             = local.ingress[each.key]
  deletion_protection = false # It keeps nothing.

  template {
    service_account                  = local.emails[local.account_of[each.key]]
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2" # Linux itself: ingest forks, and sets limits to its children.
    timeout                          = "${each.value.timeout_s}s"
    max_instance_request_concurrency = each.value.concurrency

    scaling {
      min_instance_count = each.value.min_instances
      max_instance_count = each.value.max_instances
    }

    containers {
      image = local.images.functions
      args  = [each.key]

      resources {
        limits            = { cpu = tostring(each.value.cpu), memory = "${each.value.memory_mib}Mi" }
        cpu_idle          = true # Paid for while it answers.
        startup_cpu_boost = true
      }

      ports {
        container_port = 8080
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 1
        failure_threshold = 60

        tcp_socket {
          port = 8080
        }
      }

      # functions-framework has four threads a processor, whatever Cloud Run sends its way.
      env {
        name  = "THREADS"
        value = tostring(each.value.concurrency)
      }

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "volume_mounts" {
        for_each = local.mounts

        content {
          name       = volume_mounts.key
          mount_path = volume_mounts.value
        }
      }
    }

    dynamic "volumes" {
      for_each = local.secret_mounts

      content {
        name = volumes.key

        secret {
          secret = local.secret_name

          items {
            path    = ".env"
            version = local.secret_version
          }
        }
      }
    }

    dynamic "volumes" {
      for_each = local.sql_mounts

      content {
        name = volumes.key

        cloud_sql_instance {
          instances = [var.sql_instance]
        }
      }
    }

    dynamic "vpc_access" {
      for_each = local.vpc_connector == "" ? [] : [local.vpc_connector]

      content {
        connector = vpc_access.value
        egress    = "PRIVATE_RANGES_ONLY"
      }
    }
  }

  lifecycle {
    precondition {
      condition     = each.value.memory_mib >= 512 * each.value.cpu && each.value.memory_mib <= 4096 * each.value.cpu
      error_message = "Flavor ${var.flavor}: ${each.key} has ${each.value.cpu} vCPUs and ${each.value.memory_mib} MiB; expected 512 to 4096 MiB a vCPU."
    }
  }

  # It does not start while its settings cannot be read.
  depends_on = [google_secret_manager_secret_iam_member.reader]
}

locals {
  # What is mounted where; functions and tasks alike.
  secret_mounts = var.config_secret == "" ? {} : { config = local.config_folder }
  sql_mounts    = var.sql_instance == "" ? {} : { cloudsql = "/cloudsql" }
  mounts        = merge(local.secret_mounts, local.sql_mounts)
}

# Who else calls: Cloud Storage, by way of Eventarc, for every object that is whole in the inbox.
resource "google_eventarc_trigger" "inbox" {
  project                 = local.project
  location                = var.region # Where the bucket is.
  name                    = "${var.prefix}-inbox"
  service_account         = local.emails[local.account_of.trigger]
  event_data_content_type = "application/json"

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.storage.object.v1.finalized"
  }

  matching_criteria {
    attribute = "bucket"
    value     = google_storage_bucket.bucket["inbox"].name
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.function["ingest"].name
      region  = var.region
      path    = "/"
    }
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.caller,
    google_project_iam_member.part,
    google_project_iam_member.storage_agent,
  ]
}

# And the clock: what is owed is paid, and what was lost is mended, every minute.
resource "google_cloud_scheduler_job" "reconcile" {
  project          = local.project
  region           = var.region
  name             = "${var.prefix}-reconcile"
  description      = "Pays what submissions owe, and mends what was lost."
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "${local.functions.reconcile.timeout_s}s"

  # The next minute is the retry.
  retry_config {
    retry_count = 0
  }

  http_target {
    http_method = "POST"
    uri         = "${google_cloud_run_v2_service.function["reconcile"].uri}/"

    oidc_token {
      service_account_email = local.emails[local.account_of.schedule]
      audience              = google_cloud_run_v2_service.function["reconcile"].uri
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.caller]
}
