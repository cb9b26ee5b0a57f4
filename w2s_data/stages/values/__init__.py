"""Stages of runs whose labels are values; `w2s_data.stages.graph` names each function."""
