# The four buckets. They are apart so that a result can never set the pipeline off.

locals {
  bucket_days = { inbox = var.inbox_days, models = 0, work = var.work_days, results = var.results_days }
}

resource "google_storage_bucket" "bucket" {
  for_each = local.buckets

  project                     = local.project
  name                        = each.value
  location                    = var.region
  force_destroy               = !var.protect_data
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # A part lives for hours: nobody wants it back, and what is deleted softly is paid for.
  soft_delete_policy {
    retention_duration_seconds = each.key == "work" ? 0 : 604800
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  dynamic "lifecycle_rule" {
    for_each = local.bucket_days[each.key] == 0 ? [] : [local.bucket_days[each.key]]

    content {
      action {
        type = "Delete"
      }
      condition {
        age = lifecycle_rule.value
      }
    }
  }
}
