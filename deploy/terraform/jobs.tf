# The Cloud Run jobs: what one task is. Dispatch starts executions, and says how many tasks and how long each may take.

resource "google_cloud_run_v2_job" "job" {
  for_each = local.jobs

  project             = local.project
  location            = var.region
  name                = "${var.prefix}-${each.key}"
  deletion_protection = false # It keeps nothing.

  template {
    # Dispatch's word stands above it. No parallelism: it may not be above this count, and what is left out is as many
    # as there is room for; so the plan asks for no more tasks than may run at once.
    task_count = 1

    template {
      service_account               = local.emails[local.account_of.task]
      execution_environment         = "EXECUTION_ENVIRONMENT_GEN2"
      timeout                       = local.timeout
      max_retries                   = each.value.max_retries
      gpu_zonal_redundancy_disabled = can(each.value.accelerator) ? true : null # A task that is lost is started again.

      containers {
        image = local.images[each.key]

        resources {
          limits = merge(
            { cpu = tostring(each.value.cpu), memory = "${each.value.memory_mib}Mi" },
            can(each.value.accelerator) ? { "nvidia.com/gpu" = "1" } : {},
          )
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

      dynamic "node_selector" {
        for_each = can(each.value.accelerator) ? [each.value.accelerator] : []

        content {
          accelerator = node_selector.value
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
  }

  lifecycle {
    precondition {
      condition     = each.value.memory_mib >= 512 * each.value.cpu && each.value.memory_mib <= 4096 * each.value.cpu
      error_message = "Flavor ${var.flavor}: a task of ${each.key} has ${each.value.cpu} vCPUs and ${each.value.memory_mib} MiB; expected 512 to 4096 MiB a vCPU."
    }
    precondition {
      condition     = can(each.value.accelerator) == (each.key == "gpu")
      error_message = "Flavor ${var.flavor}: expected an accelerator for the job gpu, and for no other."
    }
    precondition {
      condition     = !can(each.value.accelerator) || (each.value.cpu >= 4 && each.value.memory_mib >= 16384)
      error_message = "Flavor ${var.flavor}: expected at least 4 vCPUs and 16384 MiB beside a GPU."
    }
    precondition {
      condition     = !can(each.value.accelerator) || local.flavor.tasks.timeout_s <= 3600
      error_message = "Flavor ${var.flavor}: a task may take ${local.flavor.tasks.timeout_s} s; expected at most 3600, all that Cloud Run gives one with a GPU."
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader]
}
