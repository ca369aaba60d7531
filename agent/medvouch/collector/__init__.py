"""The other side: enrolment authority, challenge and appraisal, store."""
