# Who may do what, on what: the whole of it, so that a right too many fails as one too few.

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

run "an_account_for_each_part" {
  assert {
    condition = { for part, account in google_service_account.part : part => account.account_id } == {
      for part in ["ingest", "dispatch", "status", "reconcile", "task", "push", "trigger", "schedule"] : part => "cells-${part}"
    }
    error_message = "Expected eight accounts."
  }

  assert {
    condition = (
      { for name, service in google_cloud_run_v2_service.function : name => service.template[0].service_account } ==
      { for name in ["ingest", "dispatch", "status", "reconcile"] : name => google_service_account.part[name].email }
    )
    error_message = "Expected each function to run as its own account."
  }

  assert {
    condition     = google_cloud_run_v2_job.job["cpu"].template[0].template[0].service_account == google_service_account.part["task"].email
    error_message = "Expected tasks to run as theirs."
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.part : "${grant.bucket} ${grant.role} ${grant.member}"]) == toset([
      "cells-inbox-lab-project roles/storage.objectViewer serviceAccount:${google_service_account.part["ingest"].email}",
      "cells-models-lab-project roles/storage.objectViewer serviceAccount:${google_service_account.part["ingest"].email}",
      "cells-inbox-lab-project roles/storage.objectViewer serviceAccount:${google_service_account.part["task"].email}",
      "cells-models-lab-project roles/storage.objectViewer serviceAccount:${google_service_account.part["task"].email}",
      "cells-work-lab-project roles/storage.objectUser serviceAccount:${google_service_account.part["task"].email}",
      "cells-results-lab-project roles/storage.objectUser serviceAccount:${google_service_account.part["task"].email}",
      "cells-work-lab-project roles/storage.objectUser serviceAccount:${google_service_account.part["reconcile"].email}",
      "cells-results-lab-project roles/storage.objectUser serviceAccount:${google_service_account.part["reconcile"].email}",
      "cells-results-lab-project roles/storage.objectViewer serviceAccount:${google_service_account.part["status"].email}",
    ])
    error_message = "Expected these rights on buckets, and no other."
  }

  assert {
    condition = toset([for grant in google_pubsub_topic_iam_member.part : "${grant.topic} ${grant.role} ${grant.member}"]) == toset(concat(
      [for part in ["ingest", "dispatch", "reconcile", "task"] : "cells-jobs roles/pubsub.publisher serviceAccount:${google_service_account.part[part].email}"],
      [for part in ["ingest", "dispatch", "reconcile", "task", "status"] : "cells-events roles/pubsub.publisher serviceAccount:${google_service_account.part[part].email}"],
    ))
    error_message = "Expected these rights on topics, and no other."
  }

  assert {
    condition = toset([for grant in google_cloud_run_v2_job_iam_member.part : "${grant.name} ${grant.role} ${grant.member}"]) == toset([
      "cells-cpu roles/run.jobsExecutorWithOverrides serviceAccount:${google_service_account.part["dispatch"].email}",
      "cells-cpu roles/run.jobsExecutorWithOverrides serviceAccount:${google_service_account.part["reconcile"].email}",
      "cells-cpu roles/run.jobsExecutor serviceAccount:${google_service_account.part["status"].email}",
      "cells-cpu roles/run.viewer serviceAccount:${google_service_account.part["dispatch"].email}",
      "cells-cpu roles/run.viewer serviceAccount:${google_service_account.part["reconcile"].email}",
      "cells-cpu roles/run.viewer serviceAccount:${google_service_account.part["status"].email}",
    ])
    error_message = "Expected these rights on the job, and no other."
  }

  assert {
    condition = toset([for grant in google_cloud_run_v2_service_iam_member.caller : "${grant.name} ${grant.role} ${grant.member}"]) == toset([
      "cells-ingest roles/run.invoker serviceAccount:${google_service_account.part["trigger"].email}",
      "cells-ingest roles/run.invoker serviceAccount:${google_service_account.part["push"].email}",
      "cells-dispatch roles/run.invoker serviceAccount:${google_service_account.part["push"].email}",
      "cells-reconcile roles/run.invoker serviceAccount:${google_service_account.part["schedule"].email}",
    ])
    error_message = "Expected these callers of functions, and no other."
  }

  assert {
    condition = toset([for grant in google_project_iam_member.part : "${grant.role} ${grant.member} ${try(grant.condition[0].expression, "everywhere")}"]) == toset(concat(
      [for part in ["ingest", "dispatch", "status", "reconcile", "task"] : "roles/datastore.user serviceAccount:${google_service_account.part[part].email} resource.name == \"projects/lab-project/databases/cells-submissions\""],
      ["roles/eventarc.eventReceiver serviceAccount:${google_service_account.part["trigger"].email} everywhere"],
    ))
    error_message = "Expected these rights on the project, those on Firestore for one database."
  }

  assert {
    condition = (
      google_project_iam_member.storage_agent.role == "roles/pubsub.publisher" &&
      google_project_iam_member.storage_agent.member == "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    )
    error_message = "Expected Cloud Storage's agent to publish."
  }

  assert {
    condition = toset([for grant in google_service_account_iam_member.signer : "${grant.service_account_id} ${grant.role} ${grant.member}"]) == toset([
      for part in ["push", "trigger"] :
      "${google_service_account.part[part].name} roles/iam.serviceAccountTokenCreator serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    ])
    error_message = "Expected Pub/Sub's agent to make tokens of those two accounts, and of no other."
  }

  assert {
    condition = toset([for grant in google_service_account_iam_member.starter : "${grant.service_account_id} ${grant.role} ${grant.member}"]) == toset([
      for part in ["dispatch", "reconcile"] :
      "${google_service_account.part["task"].name} roles/iam.serviceAccountUser serviceAccount:${google_service_account.part[part].email}"
    ])
    error_message = "Expected dispatch and reconcile to have jobs act as the account of tasks, and as no other."
  }

  assert {
    condition = (
      google_service_account_iam_member.status_itself.service_account_id == google_service_account.part["status"].name &&
      google_service_account_iam_member.status_itself.member == "serviceAccount:${google_service_account.part["status"].email}" &&
      google_service_account_iam_member.status_itself.role == "roles/iam.serviceAccountTokenCreator"
    )
    error_message = "Expected status to sign as itself."
  }

  assert {
    condition = toset([for grant in google_pubsub_topic_iam_member.pubsub_agent : "${grant.topic} ${grant.role} ${grant.member}"]) == toset([
      for topic in ["requests", "jobs", "events"] : "cells-${topic}-dead roles/pubsub.publisher serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    ])
    error_message = "Expected Pub/Sub's agent to publish to the dead-letter topics."
  }

  assert {
    condition = toset([for grant in google_pubsub_subscription_iam_member.pubsub_agent : "${grant.subscription} ${grant.role} ${grant.member}"]) == toset([
      for name in ["cells-jobs-dispatch", "cells-requests-ingest", "cells-events"] : "${name} roles/pubsub.subscriber serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    ])
    error_message = "Expected Pub/Sub's agent to take from every subscription that gives up."
  }

  assert {
    condition     = length(google_storage_bucket_iam_member.user) + length(google_cloud_run_v2_service_iam_member.user) + length(google_pubsub_topic_iam_member.requester) == 0
    error_message = "Expected nobody else to be let in."
  }
}

run "one_account_for_all" {
  variables {
    service_account_email = "lab@lab-project.iam.gserviceaccount.com"
    config_secret         = "celldrop-env:latest"
    allowed_buckets       = ["lims"]
  }

  assert {
    condition     = length(google_service_account.part) == 0 && toset(values(output.service_accounts)) == toset(["lab@lab-project.iam.gserviceaccount.com"])
    error_message = "Expected no account to be made."
  }

  assert {
    condition = alltrue(concat(
      [for service in google_cloud_run_v2_service.function : service.template[0].service_account == "lab@lab-project.iam.gserviceaccount.com"],
      [for job in google_cloud_run_v2_job.job : job.template[0].template[0].service_account == "lab@lab-project.iam.gserviceaccount.com"],
      [for push in google_pubsub_subscription.push : push.push_config[0].oidc_token[0].service_account_email == "lab@lab-project.iam.gserviceaccount.com"],
      [google_eventarc_trigger.inbox.service_account == "lab@lab-project.iam.gserviceaccount.com"],
      [google_cloud_scheduler_job.reconcile.http_target[0].oidc_token[0].service_account_email == "lab@lab-project.iam.gserviceaccount.com"],
    ))
    error_message = "Expected everything to run as the account that was given."
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.part : "${grant.bucket} ${grant.role} ${grant.member}"]) == toset([
      for right in [
        "cells-inbox-lab-project roles/storage.objectViewer", "cells-models-lab-project roles/storage.objectViewer",
        "cells-work-lab-project roles/storage.objectUser", "cells-results-lab-project roles/storage.objectUser",
        "cells-results-lab-project roles/storage.objectViewer",
      ] : "${right} serviceAccount:lab@lab-project.iam.gserviceaccount.com"
    ]) && length(google_storage_bucket_iam_member.part) == 5
    error_message = "Expected what the parts share to be granted once."
  }

  assert {
    condition = (
      length(google_pubsub_topic_iam_member.part) == 2 && length(google_cloud_run_v2_service_iam_member.caller) == 3 &&
      length(google_project_iam_member.part) == 2 && length(google_secret_manager_secret_iam_member.reader) == 1 &&
      length(google_service_account_iam_member.signer) == 1 && length(google_storage_bucket_iam_member.elsewhere) == 1
    )
    error_message = "Expected what the parts share to be granted once."
  }

  assert {
    condition     = google_service_account_iam_member.signer["given"].service_account_id == "projects/-/serviceAccounts/lab@lab-project.iam.gserviceaccount.com"
    error_message = "Expected Pub/Sub's agent to make tokens of the account that was given."
  }
}

run "people_and_systems" {
  variables {
    users      = ["group:lab@example.org"]
    requesters = ["serviceAccount:lims@other.iam.gserviceaccount.com"]
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.user : "${grant.bucket} ${grant.role} ${grant.member}"]) == toset([
      "cells-inbox-lab-project roles/storage.objectCreator group:lab@example.org",
      "cells-results-lab-project roles/storage.objectViewer group:lab@example.org",
    ])
    error_message = "Expected users to drop files and read results, and neither the other way round."
  }

  assert {
    condition = (
      google_cloud_run_v2_service_iam_member.user["group:lab@example.org"].name == "cells-status" &&
      google_cloud_run_v2_service_iam_member.user["group:lab@example.org"].role == "roles/run.invoker"
    )
    error_message = "Expected users to call status."
  }

  assert {
    condition = (
      [for grant in google_pubsub_topic_iam_member.requester : "${grant.topic} ${grant.role} ${grant.member}"] == ["cells-requests roles/pubsub.publisher serviceAccount:lims@other.iam.gserviceaccount.com"] &&
      [for grant in google_pubsub_subscription_iam_member.requester : "${grant.subscription} ${grant.role} ${grant.member}"] == ["cells-events roles/pubsub.subscriber serviceAccount:lims@other.iam.gserviceaccount.com"]
    )
    error_message = "Expected requesters to ask and to hear."
  }
}
