# What a proof applies: deploy/terraform with the override and the variables that it writes beside it.

mock_provider "google" {
  source = "./tests/mocks"
}

mock_provider "google" {
  alias  = "billing"
  source = "./tests/mocks"
}

run "proof" {
  assert {
    condition     = output.buckets.inbox == "prove-1129-0130-ab12-inbox-lab-project" && google_storage_bucket.bucket["inbox"].force_destroy
    error_message = "Expected buckets of the proof, which a destroy empties."
  }

  assert {
    condition = alltrue([
      for push in google_pubsub_subscription.push :
      push.dead_letter_policy[0].max_delivery_attempts == 5 && push.retry_policy[0].maximum_backoff == "10s" && length(push.retry_policy) == 1
    ])
    error_message = "Expected a request to be given up within a minute."
  }

  assert {
    condition     = google_firestore_database.submissions.deletion_policy == "DELETE" && google_firestore_database.submissions.delete_protection_state == "DELETE_PROTECTION_DISABLED"
    error_message = "Expected a database that a destroy removes."
  }
}
