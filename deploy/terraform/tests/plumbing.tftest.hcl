# What leads where: buckets, topics, pushes, trigger, clock, database, alerts.

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

run "plumbing" {
  assert {
    condition = output.buckets == {
      inbox   = "cells-inbox-lab-project"
      models  = "cells-models-lab-project"
      work    = "cells-work-lab-project"
      results = "cells-results-lab-project"
    }
    error_message = "Expected four buckets that name the project."
  }

  assert {
    condition = alltrue([
      for bucket in google_storage_bucket.bucket :
      bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced" && !bucket.force_destroy && bucket.location == "europe-west4"
    ])
    error_message = "Expected buckets that nobody outside reads and no destroy empties, beside the functions."
  }

  assert {
    condition = {
      for name, bucket in google_storage_bucket.bucket : name => [for rule in bucket.lifecycle_rule : "${rule.action[0].type} ${rule.condition[0].age}"]
      } == {
      inbox   = ["AbortIncompleteMultipartUpload 7"]
      models  = ["AbortIncompleteMultipartUpload 7"]
      work    = ["AbortIncompleteMultipartUpload 7", "Delete 7"]
      results = ["AbortIncompleteMultipartUpload 7"]
    }
    error_message = "Expected parts to go after a week, and nothing else."
  }

  assert {
    condition     = google_storage_bucket.bucket["work"].soft_delete_policy[0].retention_duration_seconds == 0 && google_storage_bucket.bucket["results"].soft_delete_policy[0].retention_duration_seconds == 604800
    error_message = "Expected deleted parts to be gone, and other deleted objects to be kept for a week."
  }

  assert {
    condition     = output.topics == { requests = "cells-requests", jobs = "cells-jobs", events = "cells-events" }
    error_message = "Expected three topics."
  }

  assert {
    condition = alltrue([
      for name in ["requests", "jobs", "events"] :
      google_pubsub_topic.dead[name].name == "cells-${name}-dead" &&
      google_pubsub_subscription.dead[name].topic == google_pubsub_topic.dead[name].id &&
      google_pubsub_subscription.dead[name].expiration_policy[0].ttl == ""
    ])
    error_message = "Expected a dead-letter topic for each, with a subscription that never expires."
  }

  assert {
    condition = alltrue([
      for topic, function in { jobs = "dispatch", requests = "ingest" } :
      google_pubsub_subscription.push[topic].topic == google_pubsub_topic.topic[topic].id &&
      google_pubsub_subscription.push[topic].push_config[0].push_endpoint == "${google_cloud_run_v2_service.function[function].uri}/" &&
      google_pubsub_subscription.push[topic].push_config[0].oidc_token[0].audience == google_cloud_run_v2_service.function[function].uri &&
      google_pubsub_subscription.push[topic].push_config[0].oidc_token[0].service_account_email == google_service_account.part["push"].email &&
      google_pubsub_subscription.push[topic].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead[topic].id &&
      google_pubsub_subscription.push[topic].dead_letter_policy[0].max_delivery_attempts == 20 &&
      google_pubsub_subscription.push[topic].retry_policy[0].minimum_backoff == "10s" &&
      google_pubsub_subscription.push[topic].expiration_policy[0].ttl == ""
    ])
    error_message = "Expected job messages pushed into dispatch and requests into ingest, with a token, pauses, and an end."
  }

  assert {
    condition     = google_pubsub_subscription.push["requests"].ack_deadline_seconds == 120 && google_pubsub_subscription.push["jobs"].ack_deadline_seconds == 60
    error_message = "Expected Pub/Sub to wait as long as the function may take."
  }

  assert {
    condition = (
      google_pubsub_subscription.events.topic == google_pubsub_topic.topic["events"].id &&
      length(google_pubsub_subscription.events.push_config) == 0 &&
      google_pubsub_subscription.events.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead["events"].id
    )
    error_message = "Expected a subscription of events to pull from, with a dead-letter topic."
  }

  assert {
    condition = (
      { for criterion in google_eventarc_trigger.inbox.matching_criteria : criterion.attribute => criterion.value } ==
      { type = "google.cloud.storage.object.v1.finalized", bucket = "cells-inbox-lab-project" } &&
      google_eventarc_trigger.inbox.destination[0].cloud_run_service[0].service == "cells-ingest" &&
      google_eventarc_trigger.inbox.service_account == google_service_account.part["trigger"].email &&
      google_eventarc_trigger.inbox.location == "europe-west4"
    )
    error_message = "Expected ingest to be told of every object that is whole in the inbox."
  }

  assert {
    condition = (
      google_cloud_scheduler_job.reconcile.schedule == "* * * * *" &&
      google_cloud_scheduler_job.reconcile.http_target[0].uri == "${google_cloud_run_v2_service.function["reconcile"].uri}/" &&
      google_cloud_scheduler_job.reconcile.http_target[0].http_method == "POST" &&
      google_cloud_scheduler_job.reconcile.http_target[0].oidc_token[0].audience == google_cloud_run_v2_service.function["reconcile"].uri &&
      google_cloud_scheduler_job.reconcile.http_target[0].oidc_token[0].service_account_email == google_service_account.part["schedule"].email &&
      google_cloud_scheduler_job.reconcile.retry_config[0].retry_count == 0
    )
    error_message = "Expected reconcile to be woken every minute, by a token of its own account."
  }

  assert {
    condition = (
      google_firestore_database.submissions.name == "cells-submissions" &&
      google_firestore_database.submissions.location_id == "europe-west4" &&
      google_firestore_database.submissions.type == "FIRESTORE_NATIVE" &&
      google_firestore_database.submissions.delete_protection_state == "DELETE_PROTECTION_ENABLED" &&
      google_firestore_database.submissions.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED" &&
      google_firestore_database.submissions.deletion_policy == "ABANDON" &&
      google_firestore_backup_schedule.daily[0].retention == "604800s"
    )
    error_message = "Expected a database of our own that is kept, backed up and cannot be deleted."
  }

  assert {
    condition = toset([
      for index in google_firestore_index.composite : join(", ", [for field in index.fields : "${field.field_path} ${field.order}"])
      ]) == toset([
      "state ASCENDING, created_at ASCENDING", "state ASCENDING, created_at DESCENDING",
      "owes ASCENDING, created_at ASCENDING", "owes ASCENDING, created_at DESCENDING",
      "owes ASCENDING, state ASCENDING, created_at ASCENDING", "owes ASCENDING, state ASCENDING, created_at DESCENDING",
    ])
    error_message = "Expected the indexes of deploy/firestore.indexes.json."
  }

  assert {
    condition     = alltrue([for index in google_firestore_index.composite : index.collection == "submissions" && index.query_scope == "COLLECTION" && index.database == "cells-submissions"])
    error_message = "Expected them on the submissions of our database."
  }

  assert {
    condition = toset([for field in google_firestore_field.override : "${field.collection} ${field.field}" if length(field.ttl_config) == 1]) == toset([
      "submissions expires_at", "tasks expires_at", "history expires_at", "requesters expires_at", "events expires_at",
    ])
    error_message = "Expected Firestore to remove what has expired."
  }

  assert {
    condition = (
      length(google_firestore_field.override) == 15 &&
      alltrue([for field in google_firestore_field.override : length(field.index_config) == 1 && length(field.index_config[0].indexes) == 0])
    )
    error_message = "Expected fields that nobody searches by to have no index."
  }

  assert {
    condition = alltrue([
      for envs in concat(
        [for service in google_cloud_run_v2_service.function : service.template[0].containers[0].env],
        [for job in google_cloud_run_v2_job.job : job.template[0].template[0].containers[0].env],
        ) : { for env in envs : env.name => env.value if env.name != "THREADS" } == {
        CELLDROP_BACKEND            = "gcp"
        CELLDROP_PROJECT            = "lab-project"
        CELLDROP_REGION             = "europe-west4"
        CELLDROP_INBOX_BUCKET       = "cells-inbox-lab-project"
        CELLDROP_MODELS_BUCKET      = "cells-models-lab-project"
        CELLDROP_WORK_BUCKET        = "cells-work-lab-project"
        CELLDROP_RESULTS_BUCKET     = "cells-results-lab-project"
        CELLDROP_ALLOWED_BUCKETS    = ""
        CELLDROP_REQUESTS_TOPIC     = "cells-requests"
        CELLDROP_JOBS_TOPIC         = "cells-jobs"
        CELLDROP_EVENTS_TOPIC       = "cells-events"
        CELLDROP_FIRESTORE_DATABASE = "cells-submissions"
        CELLDROP_CPU_JOB            = "cells-cpu"
        CELLDROP_CPU_VCPUS          = "4"
        CELLDROP_CPU_MEMORY_MIB     = "8192"
        CELLDROP_CPU_PARALLEL       = "20"
        CELLDROP_GPU_JOB            = ""
        CELLDROP_ROWS_PER_TASK      = "250000"
        CELLDROP_MAX_TASKS          = "100"
        CELLDROP_TASK_TIMEOUT_S     = "3600"
        CELLDROP_INGEST_TIMEOUT_S   = "120"
        CELLDROP_RECORD_DAYS        = "0"
        CELLDROP_RECONCILE_S        = "210"
        CELLDROP_PUSH_AUTH          = "platform"
        CELLDROP_STATUS_AUTH        = "platform"
      }
    ])
    error_message = "Expected every function and task to be told of all of it."
  }

  assert {
    condition = (
      output.inbox_url == "gs://cells-inbox-lab-project" &&
      output.upload_command == "gcloud storage cp sample.h5ad gs://cells-inbox-lab-project/" &&
      output.models_command == "gcloud storage cp --recursive models/* gs://cells-models-lab-project/" &&
      output.status_url == google_cloud_run_v2_service.function["status"].uri &&
      output.subscriptions == { events = "cells-events", requests_dead = "cells-requests-dead", jobs_dead = "cells-jobs-dead", events_dead = "cells-events-dead" }
    )
    error_message = "Expected outputs that can be used as they are."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.alert["dead_letters"].conditions[0].condition_threshold[0].filter, "cells-(requests|jobs|events)-dead")
    error_message = "Expected an alert of what was given up."
  }

  assert {
    condition     = google_monitoring_alert_policy.silence[0].conditions[0].condition_absent[0].duration == "600s" && strcontains(google_monitoring_alert_policy.silence[0].conditions[0].condition_absent[0].filter, "\"cells-reconcile\"")
    error_message = "Expected an alert when reconcile is not heard of."
  }

  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.overview[0].dashboard_json).mosaicLayout.tiles) == 8
    error_message = "Expected eight charts."
  }
}

run "retention" {
  variables {
    inbox_days   = 30
    work_days    = 3
    results_days = 365
  }

  assert {
    condition = {
      for name, bucket in google_storage_bucket.bucket : name => [for rule in bucket.lifecycle_rule : rule.condition[0].age if rule.action[0].type == "Delete"]
    } == { inbox = [30], models = [], work = [3], results = [365] }
    error_message = "Expected each bucket to keep what it holds for as long as was said, and models for good."
  }
}

run "a_trial" {
  variables {
    protect_data       = false
    firestore_location = "eur3"
    enable_services    = false
  }

  assert {
    condition = (
      alltrue([for bucket in google_storage_bucket.bucket : bucket.force_destroy]) &&
      google_firestore_database.submissions.deletion_policy == "DELETE" &&
      google_firestore_database.submissions.delete_protection_state == "DELETE_PROTECTION_DISABLED" &&
      length(google_firestore_backup_schedule.daily) == 0
    )
    error_message = "Expected nothing to outlive a trial."
  }

  assert {
    condition     = google_firestore_database.submissions.location_id == "eur3" && length(google_project_service.needed) == 0
    error_message = "Expected the location that was given, and services left alone."
  }
}
