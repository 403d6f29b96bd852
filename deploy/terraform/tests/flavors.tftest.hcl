# What each flavor makes of functions and jobs.

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

run "default" {
  assert {
    condition = {
      for name, service in google_cloud_run_v2_service.function : name => [
        service.name, service.template[0].containers[0].image, join(" ", service.template[0].containers[0].args),
      ]
      } == {
      ingest    = ["cells-ingest", "europe-west4-docker.pkg.dev/lab-project/cells/celldrop-functions:0a1b2c3", "ingest"]
      dispatch  = ["cells-dispatch", "europe-west4-docker.pkg.dev/lab-project/cells/celldrop-functions:0a1b2c3", "dispatch"]
      status    = ["cells-status", "europe-west4-docker.pkg.dev/lab-project/cells/celldrop-functions:0a1b2c3", "status"]
      reconcile = ["cells-reconcile", "europe-west4-docker.pkg.dev/lab-project/cells/celldrop-functions:0a1b2c3", "reconcile"]
    }
    error_message = "Expected four functions, each told its name by the only argument of one image."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.function["ingest"].template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "2048Mi" }) &&
      google_cloud_run_v2_service.function["ingest"].template[0].scaling[0].min_instance_count == 0 &&
      google_cloud_run_v2_service.function["ingest"].template[0].scaling[0].max_instance_count == 10 &&
      google_cloud_run_v2_service.function["ingest"].template[0].max_instance_request_concurrency == 4 &&
      google_cloud_run_v2_service.function["ingest"].template[0].timeout == "120s"
    )
    error_message = "Expected ingest with 1 vCPU, 2 GiB, no instance kept warm, 10 at most, 4 requests each, 120 s."
  }

  assert {
    condition = alltrue([
      for service in google_cloud_run_v2_service.function :
      service.template[0].containers[0].resources[0].cpu_idle && service.template[0].containers[0].resources[0].startup_cpu_boost
    ])
    error_message = "Expected functions that are paid for while they answer, and start fast."
  }

  assert {
    condition = alltrue([
      for service in google_cloud_run_v2_service.function :
      { for env in service.template[0].containers[0].env : env.name => env.value }["THREADS"] == tostring(service.template[0].max_instance_request_concurrency)
    ])
    error_message = "Expected as many threads as Cloud Run sends requests."
  }

  assert {
    condition     = alltrue([for service in google_cloud_run_v2_service.function : service.template[0].containers[0].startup_probe[0].tcp_socket[0].port == 8080])
    error_message = "Expected a probe of the port that the function listens on."
  }

  assert {
    condition = { for name, service in google_cloud_run_v2_service.function : name => service.ingress } == {
      ingest    = "INGRESS_TRAFFIC_INTERNAL_ONLY"
      dispatch  = "INGRESS_TRAFFIC_INTERNAL_ONLY"
      reconcile = "INGRESS_TRAFFIC_INTERNAL_ONLY"
      status    = "INGRESS_TRAFFIC_ALL"
    }
    error_message = "Expected status alone to be reached from outside Google."
  }

  assert {
    condition     = keys(google_cloud_run_v2_job.job) == ["cpu"]
    error_message = "Expected no job but cpu."
  }

  assert {
    condition = (
      google_cloud_run_v2_job.job["cpu"].name == "cells-cpu" &&
      google_cloud_run_v2_job.job["cpu"].template[0].parallelism == 0 && # Left out.
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].max_retries == 3 &&
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].timeout == "3600s" &&
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].containers[0].image == "europe-west4-docker.pkg.dev/lab-project/cells/celldrop-inference:0a1b2c3" &&
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "8192Mi" }) &&
      length(google_cloud_run_v2_job.job["cpu"].template[0].template[0].node_selector) == 0
    )
    error_message = "Expected tasks of 4 vCPUs and 8 GiB, an hour and 3 retries each, without an accelerator and without parallelism."
  }

  assert {
    condition     = output.environment.CELLDROP_GPU_JOB == "" && output.environment.CELLDROP_CPU_JOB == "cells-cpu"
    error_message = "Expected the settings to name the job cpu, and none for gpu."
  }

  assert {
    condition     = output.jobs == { cpu = "cells-cpu" } && !contains(keys(output.images), "gpu")
    error_message = "Expected outputs of what there is."
  }
}

run "large" {
  variables {
    flavor = "large"
  }

  assert {
    condition = (
      google_cloud_run_v2_job.job["cpu"].template[0].parallelism == 0 && # Left out.
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].timeout == "10800s" &&
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "8", memory = "16384Mi" })
    )
    error_message = "Expected no parallelism, and tasks of 8 vCPUs and 16 GiB, three hours each."
  }

  assert {
    condition = (
      output.environment.CELLDROP_MAX_TASKS == "400" &&
      output.environment.CELLDROP_ROWS_PER_TASK == "500000" &&
      output.environment.CELLDROP_TASK_TIMEOUT_S == "10800" &&
      output.environment.CELLDROP_RECONCILE_S == "420" &&
      output.environment.CELLDROP_CPU_VCPUS == "8" &&
      output.environment.CELLDROP_CPU_MEMORY_MIB == "16384" &&
      output.environment.CELLDROP_CPU_PARALLEL == "100"
    )
    error_message = "Expected the planner, and reconcile, to be told of the flavor."
  }

  assert {
    condition     = google_cloud_run_v2_service.function["ingest"].template[0].scaling[0].max_instance_count == 50
    error_message = "Expected up to 50 instances of ingest."
  }
}

run "gpu" {
  variables {
    flavor = "gpu"
  }

  assert {
    condition     = keys(google_cloud_run_v2_job.job) == ["cpu", "gpu"]
    error_message = "Expected a job with a GPU beside the one without."
  }

  assert {
    condition = (
      google_cloud_run_v2_job.job["gpu"].name == "cells-gpu" &&
      google_cloud_run_v2_job.job["gpu"].template[0].template[0].node_selector[0].accelerator == "nvidia-l4" &&
      google_cloud_run_v2_job.job["gpu"].template[0].template[0].gpu_zonal_redundancy_disabled &&
      google_cloud_run_v2_job.job["gpu"].template[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "16384Mi", "nvidia.com/gpu" = "1" }) &&
      google_cloud_run_v2_job.job["gpu"].template[0].template[0].containers[0].image == "europe-west4-docker.pkg.dev/lab-project/cells/celldrop-inference-cuda:0a1b2c3"
    )
    error_message = "Expected one L4 a task, without zonal redundancy, beside 4 vCPUs and 16 GiB, in the image with CUDA."
  }

  assert {
    condition = (
      length(google_cloud_run_v2_job.job["cpu"].template[0].template[0].node_selector) == 0 &&
      !contains(keys(google_cloud_run_v2_job.job["cpu"].template[0].template[0].containers[0].resources[0].limits), "nvidia.com/gpu")
    )
    error_message = "Expected no GPU in the job cpu."
  }

  assert {
    condition     = output.environment.CELLDROP_GPU_JOB == "cells-gpu" && output.jobs.gpu == "cells-gpu"
    error_message = "Expected the settings and outputs to name the job gpu."
  }

  assert {
    condition = (
      output.environment.CELLDROP_GPU_VCPUS == "4" &&
      output.environment.CELLDROP_GPU_MEMORY_MIB == "16384" &&
      output.environment.CELLDROP_GPU_PARALLEL == "3"
    )
    error_message = "Expected the planner to be told of the machines with a GPU."
  }

  assert {
    condition = toset([
      for grant in google_cloud_run_v2_job_iam_member.part : "${grant.name} ${grant.role}"
      if grant.member == "serviceAccount:${google_service_account.part["dispatch"].email}"
      ]) == toset([
      "cells-cpu roles/run.jobsExecutorWithOverrides", "cells-cpu roles/run.viewer",
      "cells-gpu roles/run.jobsExecutorWithOverrides", "cells-gpu roles/run.viewer",
    ])
    error_message = "Expected dispatch to start both jobs."
  }
}

run "dev" {
  variables {
    flavor = "dev"
  }

  assert {
    condition     = alltrue([for service in google_cloud_run_v2_service.function : service.template[0].scaling[0].max_instance_count == 1])
    error_message = "Expected one instance of each function at most."
  }

  assert {
    condition = (
      google_cloud_run_v2_job.job["cpu"].template[0].parallelism == 0 && # Left out.
      google_cloud_run_v2_job.job["cpu"].template[0].template[0].max_retries == 1 &&
      output.environment.CELLDROP_MAX_TASKS == "4"
    )
    error_message = "Expected few tasks, and one retry."
  }
}
