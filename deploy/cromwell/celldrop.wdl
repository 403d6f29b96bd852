version 1.0

# Annotates the cells of one AnnData file: judged and cut into shards, each shard computed by itself, then merged.
# The same code as the pipeline's, and the same bytes; only the protocol around it is the engine's.

workflow celldrop {
  input {
    File h5ad
    File model_card
    File model_weights
    Array[File] other_model_cards = []
    Array[File] other_model_weights = []
    String image
    Array[String] options = []
    Int? shards
    Int cpu = 4
    Int memory_gb = 8
    Int extra_disk_gb = 10
    Int preemptible = 2
    Int max_retries = 1
    String zones = "us-central1-a us-central1-b us-central1-c us-central1-f"
    Boolean gpu = false
    String gpu_image = image
    String gpu_type = "nvidia-tesla-t4"
    Int gpu_count = 1
  }

  Int localised_gb = ceil(size(h5ad, "GB") + size(model_weights, "GB") + size(other_model_weights, "GB")) + extra_disk_gb

  call plan {
    input:
      h5ad = h5ad,
      model_card = model_card,
      model_weights = model_weights,
      other_model_cards = other_model_cards,
      other_model_weights = other_model_weights,
      image = image,
      options = options,
      shards = shards,
      memory_gb = memory_gb,
      disk_gb = localised_gb,
      preemptible = preemptible,
      zones = zones
  }

  # On Google a GPU is attached wherever its attributes are named, whatever they say: hence two tasks of one command.
  if (!gpu) {
    scatter (shard in range(plan.n_shards)) {
      call annotate {
        input:
          index = shard,
          plan_json = plan.plan_json,
          h5ad = h5ad,
          model_card = model_card,
          model_weights = model_weights,
          other_model_cards = other_model_cards,
          other_model_weights = other_model_weights,
          image = image,
          cpu = cpu,
          memory_gb = memory_gb,
          disk_gb = localised_gb,
          preemptible = preemptible,
          max_retries = max_retries,
          zones = zones
      }
    }
  }
  if (gpu) {
    scatter (shard in range(plan.n_shards)) {
      call annotate_on_gpu {
        input:
          index = shard,
          plan_json = plan.plan_json,
          h5ad = h5ad,
          model_card = model_card,
          model_weights = model_weights,
          other_model_cards = other_model_cards,
          other_model_weights = other_model_weights,
          image = gpu_image,
          cpu = cpu,
          memory_gb = memory_gb,
          disk_gb = localised_gb,
          preemptible = preemptible,
          max_retries = max_retries,
          zones = zones,
          gpu_type = gpu_type,
          gpu_count = gpu_count
      }
    }
  }

  Array[File] parts = select_first([annotate.part, annotate_on_gpu.part])
  Array[File] receipts = select_first([annotate.receipt, annotate_on_gpu.receipt])

  call gather {
    input:
      plan_json = plan.plan_json,
      parts = parts,
      receipts = receipts,
      h5ad = h5ad,
      model_card = model_card,
      model_weights = model_weights,
      other_model_cards = other_model_cards,
      other_model_weights = other_model_weights,
      image = image,
      cpu = cpu,
      memory_gb = memory_gb,
      # The file, its annotated copy, the parts, and tables that are no larger than the parts.
      disk_gb = localised_gb + ceil(size(h5ad, "GB") + 2 * size(parts, "GB")),
      preemptible = preemptible,
      max_retries = max_retries,
      zones = zones
  }

  output {
    File report = gather.report
    File? annotated_h5ad = gather.annotated_h5ad
    File annotations_parquet = gather.annotations_parquet
    File annotations_csv = gather.annotations_csv
    File? scores_parquet = gather.scores_parquet
    File? evidence_csv = gather.evidence_csv
    File? pseudobulk_h5ad = gather.pseudobulk_h5ad
    File? ontology_response_json = gather.ontology_response_json
    File? ontology_resource_json = gather.ontology_resource_json
    File? inferred_labels_csv = gather.inferred_labels_csv
    File? metadata_json = gather.metadata_json
    File? consensus_csv = gather.consensus_csv
    File manifest = gather.manifest
  }

  meta {
    description: "Annotates the cells of an AnnData file with a celldrop bundle, in shards."
  }

  parameter_meta {
    h5ad: "The cells: an .h5ad file, or a 10x .h5. Every shard localises all of it."
    model_card: "The bundle's model.json."
    model_weights: "The bundle's weights.safetensors."
    other_model_cards: "For a consensus: the model.json of each further bundle, at most four."
    other_model_weights: "The weights.safetensors of each, in the same order."
    image: "celldrop-inference, as it was pushed: REGISTRY/celldrop-inference:TAG, or better with @sha256:DIGEST."
    options: "KEY=VALUE, as in docs/reference/options.md: scores=full, matrix=raw, map=off."
    shards: "How many to ask for; a small file gets fewer. Left out: one for every 250,000 cells."
    cpu: "Cores of a shard, and of the merge."
    memory_gb: "Memory of every task. None holds a whole matrix, so large files need no more."
    extra_disk_gb: "Disk beyond what the files take, which is computed; cas=on takes up to 2.5 GB for a million cells."
    preemptible: "Tries on a preemptible machine before a dependable one is taken."
    max_retries: "Retries of a shard or of the merge that failed; a refusal when the file is judged is final."
    zones: "Google only: where machines may be, separated by spaces. A GPU is not to be had in every zone."
    gpu: "Compute the shards on a GPU."
    gpu_image: "With gpu: celldrop-inference-cuda, as it was pushed."
    gpu_type: "With gpu, Google only: the kind to attach."
    gpu_count: "With gpu, Google only: how many to attach to each shard's machine; one is used."
  }
}

task plan {
  input {
    File h5ad
    File model_card
    File model_weights
    Array[File] other_model_cards
    Array[File] other_model_weights
    String image
    Array[String] options
    Int? shards
    Int memory_gb
    Int disk_gb
    Int preemptible
    String zones
  }

  # Never empty, so that they can be quoted one by one; a file of write_lines is not always the image's user's to read.
  Array[String] flags = flatten([["--json"], prefix("--set=", options)])

  command <<<
    set -euo pipefail
    mkdir bundle
    ln -s '~{model_card}' bundle/model.json
    ln -s '~{model_weights}' bundle/weights.safetensors
    cards=('~{sep="' '" other_model_cards}')
    weights=('~{sep="' '" other_model_weights}')
    models=(--model bundle)
    for n in "${!cards[@]}"; do
      if [ -n "${cards[$n]}" ]; then
        mkdir "other$n"
        ln -s "${cards[$n]}" "other$n/model.json"
        ln -s "${weights[$n]}" "other$n/weights.safetensors"
        models+=(--model "other$n")
      fi
    done
    celldrop shards plan '~{h5ad}' "${models[@]}" --plan plan.json '~{sep="' '" flags}' \
      ~{"--set=tasks=" + shards} > planned.json
    python -c 'import json; print(json.load(open("planned.json"))["shards"])' > n_shards
  >>>

  output {
    File plan_json = "plan.json"
    Int n_shards = read_int("n_shards")
  }

  runtime {
    docker: image
    cpu: 1
    memory: "~{memory_gb} GB"
    disks: "local-disk ~{disk_gb} SSD"
    preemptible: preemptible
    # A refused file is refused again.
    maxRetries: 0
    zones: zones
  }
}

task annotate {
  input {
    Int index
    File plan_json
    File h5ad
    File model_card
    File model_weights
    Array[File] other_model_cards
    Array[File] other_model_weights
    String image
    Int cpu
    Int memory_gb
    Int disk_gb
    Int preemptible
    Int max_retries
    String zones
  }

  command <<<
    set -euo pipefail
    mkdir bundle
    ln -s '~{model_card}' bundle/model.json
    ln -s '~{model_weights}' bundle/weights.safetensors
    cards=('~{sep="' '" other_model_cards}')
    weights=('~{sep="' '" other_model_weights}')
    models=(--model bundle)
    for n in "${!cards[@]}"; do
      if [ -n "${cards[$n]}" ]; then
        mkdir "other$n"
        ln -s "${cards[$n]}" "other$n/model.json"
        ln -s "${weights[$n]}" "other$n/weights.safetensors"
        models+=(--model "other$n")
      fi
    done
    celldrop shards annotate '~{h5ad}' --index ~{index} "${models[@]}" --part '~{index}.arrow' --plan '~{plan_json}'
  >>>

  output {
    File part = "~{index}.arrow"
    File receipt = "~{index}.arrow.receipt.json"
  }

  runtime {
    docker: image
    cpu: cpu
    memory: "~{memory_gb} GB"
    disks: "local-disk ~{disk_gb} SSD"
    preemptible: preemptible
    # It reads its inputs and writes its part: done again, it is the same.
    maxRetries: max_retries
    zones: zones
  }
}

task annotate_on_gpu {
  input {
    Int index
    File plan_json
    File h5ad
    File model_card
    File model_weights
    Array[File] other_model_cards
    Array[File] other_model_weights
    String image
    Int cpu
    Int memory_gb
    Int disk_gb
    Int preemptible
    Int max_retries
    String zones
    String gpu_type
    Int gpu_count
  }

  command <<<
    set -euo pipefail
    mkdir bundle
    ln -s '~{model_card}' bundle/model.json
    ln -s '~{model_weights}' bundle/weights.safetensors
    cards=('~{sep="' '" other_model_cards}')
    weights=('~{sep="' '" other_model_weights}')
    models=(--model bundle)
    for n in "${!cards[@]}"; do
      if [ -n "${cards[$n]}" ]; then
        mkdir "other$n"
        ln -s "${cards[$n]}" "other$n/model.json"
        ln -s "${weights[$n]}" "other$n/weights.safetensors"
        models+=(--model "other$n")
      fi
    done
    celldrop shards annotate '~{h5ad}' --index ~{index} "${models[@]}" --part '~{index}.arrow' --plan '~{plan_json}' \
      --accelerator gpu
  >>>

  output {
    File part = "~{index}.arrow"
    File receipt = "~{index}.arrow.receipt.json"
  }

  runtime {
    docker: image
    cpu: cpu
    memory: "~{memory_gb} GB"
    disks: "local-disk ~{disk_gb} SSD"
    # The CUDA image is some gigabytes.
    bootDiskSizeGb: 50
    gpu: true
    gpuType: gpu_type
    gpuCount: gpu_count
    preemptible: preemptible
    maxRetries: max_retries
    zones: zones
  }
}

task gather {
  input {
    File plan_json
    Array[File] parts
    Array[File] receipts
    File h5ad
    File model_card
    File model_weights
    Array[File] other_model_cards
    Array[File] other_model_weights
    String image
    Int cpu
    Int memory_gb
    Int disk_gb
    Int preemptible
    Int max_retries
    String zones
  }

  command <<<
    set -euo pipefail
    mkdir bundle parts
    ln -s '~{model_card}' bundle/model.json
    ln -s '~{model_weights}' bundle/weights.safetensors
    cards=('~{sep="' '" other_model_cards}')
    weights=('~{sep="' '" other_model_weights}')
    models=(--model bundle)
    for n in "${!cards[@]}"; do
      if [ -n "${cards[$n]}" ]; then
        mkdir "other$n"
        ln -s "${cards[$n]}" "other$n/model.json"
        ln -s "${weights[$n]}" "other$n/weights.safetensors"
        models+=(--model "other$n")
      fi
    done
    ln -s '~{sep="' '" parts}' '~{sep="' '" receipts}' parts/
    celldrop shards gather '~{h5ad}' parts/*.arrow "${models[@]}" --out results --plan '~{plan_json}'
  >>>

  output {
    File report = "results/report.html"
    File? annotated_h5ad = "results/annotated.h5ad"
    File annotations_parquet = "results/annotations.parquet"
    File annotations_csv = "results/annotations.csv.gz"
    File? scores_parquet = "results/scores.parquet"
    File? evidence_csv = "results/evidence.csv"
    File? pseudobulk_h5ad = "results/pseudobulk.h5ad"
    File? ontology_response_json = "results/ontology_response.json"
    File? ontology_resource_json = "results/ontology_resource.json"
    File? inferred_labels_csv = "results/inferred_labels.csv"
    File? metadata_json = "results/metadata.json"
    File? consensus_csv = "results/consensus.csv.gz"
    File manifest = "results/manifest.json"
  }

  runtime {
    docker: image
    cpu: cpu
    memory: "~{memory_gb} GB"
    disks: "local-disk ~{disk_gb} SSD"
    preemptible: preemptible
    maxRetries: max_retries
    zones: zones
  }
}
