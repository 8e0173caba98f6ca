"""Admission: which submission may be sent now, in this process and across processes."""
