# The status store: one database, and the indexes that the code says it needs.

locals {
  # Written from shared/adapters/gcp/documents.py (make docs); a test fails where it lags behind.
  firestore = jsondecode(file("${path.module}/../firestore.indexes.json"))
}

resource "google_firestore_database" "submissions" {
  project                           = local.project
  name                              = local.database
  location_id                       = var.firestore_location != "" ? var.firestore_location : var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "PESSIMISTIC" # What the store was proved on.
  app_engine_integration_mode       = "DISABLED"
  point_in_time_recovery_enablement = var.protect_data ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"
  delete_protection_state           = var.protect_data ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.protect_data ? "ABANDON" : "DELETE"
}

resource "google_firestore_backup_schedule" "daily" {
  count = var.protect_data ? 1 : 0

  project   = local.project
  database  = google_firestore_database.submissions.name
  retention = "604800s"

  daily_recurrence {}
}

resource "google_firestore_index" "composite" {
  for_each = {
    for index in local.firestore.indexes :
    join(" ", concat([index.collectionGroup], [for field in index.fields : "${field.fieldPath} ${field.order}"])) => index
  }

  project     = local.project
  database    = google_firestore_database.submissions.name
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path = fields.value.fieldPath
      order      = fields.value.order
    }
  }
}

# Fields that nobody searches by are not indexed; those that tell when a document may go, Firestore acts upon.
resource "google_firestore_field" "override" {
  for_each = { for field in local.firestore.fieldOverrides : "${field.collectionGroup} ${field.fieldPath}" => field }

  project    = local.project
  database   = google_firestore_database.submissions.name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes

      content {
        query_scope = indexes.value.queryScope
        order       = indexes.value.order
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []

    content {}
  }
}
