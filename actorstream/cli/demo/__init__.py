"""The main job, `actorstream demo`: payments under load, a process killed three times, every output compared.

parent  load.py ──> payments (event log) ──> child  service.py runs pipeline.py ──> totals, alerts (event logs)
        drill.py kills and restarts it                                                    │
        reference.py, a plain loop over the same payments ──> comparison.py <─────────────┘
"""
