-- SPDX-License-Identifier: Apache-2.0
cohort "lab" { gpus = 0 }
queue "research" { gpus = 8, cohort = "lab", min_run = "20m" }
queue "batch" { gpus = 4, cohort = "lab", preemptible = true }
