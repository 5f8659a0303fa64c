"""Every failure becomes one problem document that tells what to do and nothing else."""

from __future__ import annotations

import json
import logging

import pytest
from aiohttp import web

from gateway.flow.issuance import IssuanceRefused
from gateway.management.guard import as_problem
from gateway.management.problem import MANAGEMENT_REASONS, FieldFault, Problem
from gateway.ports import StoreUnavailable


def test_a_change_that_may_have_been_made_says_so() -> None:
    sure = as_problem(StoreUnavailable("refused"))
    unsure = as_problem(StoreUnavailable("no answer", written=True))
    assert (sure.reason.code, unsure.reason.code) == ("store_unavailable", "store_unavailable")
    assert "Nothing was changed" in sure.detail
    assert "may have been made" in unsure.detail


@pytest.mark.parametrize("code", ["invalid", "not_found", "not_active", "too_many_tokens", "clock_skew"])
def test_every_refusal_of_the_life_cycle_keeps_its_code_and_status(code: str) -> None:
    refusal = IssuanceRefused(code, "why", {"name": "is wrong"})
    problem = as_problem(refusal)
    assert (problem.reason.code, problem.reason.status, problem.detail) == (code, refusal.status, "why")
    assert problem.fields == (FieldFault("name", "is wrong"),)


def test_a_clock_skew_says_when_to_try_again() -> None:
    assert as_problem(IssuanceRefused("clock_skew", "60 s apart")).response("id").headers["Retry-After"] == "1"


def test_a_refusal_that_nobody_foresaw_is_a_failure_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert as_problem(IssuanceRefused("surprise", "hunter2")).reason.code == "internal_error"
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [(web.HTTPNotFound(), 404), (web.HTTPRequestEntityTooLarge(1, 2), 413), (web.HTTPMethodNotAllowed("GET", ["PUT"]), 405), (web.HTTPBadRequest(), 400)],
)
def test_aiohttps_own_refusals_keep_their_status(error: web.HTTPException, status: int) -> None:
    assert as_problem(error).reason.status == status


def test_a_document_holds_the_facts_and_the_wrong_fields() -> None:
    response = Problem("invalid", "Something is wrong with name.", fields=[FieldFault("name", "is missing")]).response("r-1")
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "urn:scopegate:problem:invalid",
        "title": "The request holds something wrong",
        "status": 422,
        "detail": "Something is wrong with name.",
        "code": "invalid",
        "request_id": "r-1",
        "errors": [{"field": "name", "message": "is missing"}],
    }


def test_each_reason_is_known_by_its_own_code() -> None:
    assert all(reason.code == code and 400 <= reason.status < 600 and reason.title for code, reason in MANAGEMENT_REASONS.items())
