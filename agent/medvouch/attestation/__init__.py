"""What integrators embed: enrolment, evidence, logs, appraisal and results (RFC 9334)."""
